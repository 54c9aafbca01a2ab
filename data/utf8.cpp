#include "data/utf8.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace drover {
namespace {

// All of White_Space beyond ASCII; U+001C to U+001F, which some languages' isspace() has too, are taken for it among ASCII.
constexpr std::array<std::string_view, 19> kSpaces{"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
                                                   "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
                                                   "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
                                                   "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

bool is_ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f); }

size_t ascii_run(const char* text, size_t at, size_t size) {
  constexpr uint64_t kHigh = 0x8080808080808080;
  for (; at + 16 <= size; at += 16) {
    uint64_t words[2];
    std::memcpy(words, text + at, sizeof words);
    if (((words[0] | words[1]) & kHigh) != 0) break;
  }
  while (at < size && static_cast<signed char>(text[at]) >= 0) ++at;
  return at;
}

struct Sequence {
  size_t bytes;      // of the maximal subpart, at least 1
  bool well_formed;  // a whole character
};

// The sequence that begins at `at` with a byte that is not ASCII.
Sequence sequence_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0xc2 || first > 0xf4) return {1, false};
  const size_t bytes = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const unsigned low = first == 0xe0   ? 0xa0
                       : first == 0xf0 ? 0x90
                                       : 0x80,
                 high = first == 0xed   ? 0x9f
                        : first == 0xf4 ? 0x8f
                                        : 0xbf;
  if (byte(1) < low || byte(1) > high) return {1, false};
  for (size_t i = 2; i < bytes; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xbf) return {i, false};
  return {bytes, true};
}

// Table 3-7 as an automaton without branches: a byte's row holds the next state of each state, 6 bits each, and a state is the shift that
// brings its entry down.
enum State : uint8_t { accept, error, one_more, two_more, three_more, after_e0, after_ed, after_f0, after_f4, states };

constexpr State next_state(State state, unsigned byte) {
  const auto within = [byte](unsigned low, unsigned high, State then) { return byte >= low && byte <= high ? then : error; };
  switch (state) {
    case accept:
      if (byte < 0x80) return accept;
      if (byte < 0xc2 || byte > 0xf4) return error;
      if (byte < 0xe0) return one_more;
      if (byte < 0xf0) return byte == 0xe0 ? after_e0 : byte == 0xed ? after_ed : two_more;
      return byte == 0xf0 ? after_f0 : byte == 0xf4 ? after_f4 : three_more;
    case one_more: return within(0x80, 0xbf, accept);
    case two_more: return within(0x80, 0xbf, one_more);
    case three_more: return within(0x80, 0xbf, two_more);
    case after_e0: return within(0xa0, 0xbf, one_more);
    case after_ed: return within(0x80, 0x9f, one_more);
    case after_f0: return within(0x90, 0xbf, two_more);
    case after_f4: return within(0x80, 0x8f, two_more);
    default: return error;
  }
}

constexpr std::array<uint64_t, 256> automaton() {
  std::array<uint64_t, 256> rows{};
  for (unsigned byte = 0; byte < 256; ++byte)
    for (unsigned state = 0; state < states; ++state)
      rows[byte] |= uint64_t{6u * next_state(static_cast<State>(state), byte)} << (6 * state);
  return rows;
}
constexpr std::array<uint64_t, 256> kAutomaton = automaton();

// Begin of a character, with all before it well-formed: text.size(), or at most a block before the first ill-formed sequence.
size_t sound_blocks(std::string_view text) {
  constexpr size_t kBlock = 64;
  size_t at = 0, sound = 0;
  uint64_t state = 6 * accept;
  while (at < text.size()) {
    if (state == 6 * accept && (at = ascii_run(text.data(), at, text.size())) == text.size()) return at;
    for (const size_t end = std::min(at + kBlock, text.size()); at < end; ++at)
      state = kAutomaton[static_cast<unsigned char>(text[at])] >> (state & 63);
    state &= 63;
    if (state == 6 * error) return sound;
    if (state == 6 * accept) sound = at;
  }
  return sound;
}

}  // namespace

size_t well_formed_utf8(std::string_view text) {
  size_t at = sound_blocks(text);
  while (at < text.size()) {
    const Sequence sequence = static_cast<signed char>(text[at]) >= 0 ? Sequence{1, true} : sequence_at(text, at);
    if (!sequence.well_formed) break;
    at += sequence.bytes;
  }
  return at;
}

std::string replace_ill_formed_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 64);
  while (true) {
    const size_t sound = well_formed_utf8(text);
    out += text.substr(0, sound);
    if (sound == text.size()) return out;
    out += "\xef\xbf\xbd";
    text.remove_prefix(sound + sequence_at(text, sound).bytes);
  }
}

size_t leading_space(std::string_view text) {
  if (text.empty()) return 0;
  if (static_cast<signed char>(text.front()) >= 0) return is_ascii_space(text.front()) ? 1 : 0;
  for (const std::string_view space : kSpaces)
    if (text.starts_with(space)) return space.size();
  return 0;
}

size_t trailing_space(std::string_view text) {
  if (text.empty()) return 0;
  if (static_cast<signed char>(text.back()) >= 0) return is_ascii_space(text.back()) ? 1 : 0;
  for (const std::string_view space : kSpaces)
    if (text.ends_with(space)) return space.size();
  return 0;
}

bool may_cut(std::string_view text, size_t at) {
  if (at == 0 || at >= text.size()) return false;
  const std::string_view before = text.substr(0, at), behind = text.substr(at);
  if (behind.front() == ' ') return trailing_space(before) == 0;
  if (before.back() != '\n' || before.size() < 2 || behind.front() == '/') return false;
  return trailing_space(before.substr(0, at - 1)) == 0 && leading_space(behind) == 0;
}

}  // namespace drover
