#include "data/tokenizer/byte_letters.h"

#include <algorithm>

#include "data/tokenizer/code_points.h"

namespace drover {
namespace {

constexpr std::array<char32_t, 256> make_letters() {
  std::array<char32_t, 256> letters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    letters[byte] = printable ? byte : next++;
  }
  return letters;
}
constexpr std::array<char32_t, 256> kLetters = make_letters();
constexpr char32_t kLettersEnd = 0x144;

constexpr std::array<int, kLettersEnd> make_bytes() {
  std::array<int, kLettersEnd> bytes{};
  bytes.fill(-1);
  for (int byte = 0; byte < 256; ++byte) bytes[kLetters[static_cast<size_t>(byte)]] = byte;
  return bytes;
}
constexpr std::array<int, kLettersEnd> kBytes = make_bytes();

}  // namespace

std::array<uint8_t, 256> bytes_by_letter() {
  std::array<uint8_t, 256> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  std::sort(bytes.begin(), bytes.end(), [](uint8_t a, uint8_t b) { return kLetters[a] < kLetters[b]; });
  return bytes;
}

std::string to_letters(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) append_utf8(text, kLetters[static_cast<uint8_t>(byte)]);
  return text;
}

bool from_letters(std::string_view text, std::string& bytes) {
  bytes.clear();
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    const auto [code, size] = decode_character(at, end);
    if (code >= kLettersEnd || kBytes[code] < 0) return false;
    bytes += static_cast<char>(kBytes[code]);
    at += size;
  }
  return true;
}

}  // namespace drover
