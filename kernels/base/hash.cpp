#include "kernels/base/hash.h"

#include <xxhash.h>

#include <array>
#include <new>

namespace drover {
namespace {

constexpr std::array<uint32_t, 256> crc32c_table() {
  constexpr uint32_t kReflectedPolynomial = 0x82f63b78;
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? kReflectedPolynomial : 0);
    table[byte] = remainder;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrc32cTable = crc32c_table();

}  // namespace

uint32_t crc32c(const void* data, size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(data);
  uint32_t remainder = ~uint32_t{0};
  for (size_t i = 0; i < bytes; ++i) remainder = (remainder >> 8) ^ kCrc32cTable[(remainder ^ at[i]) & 0xff];
  return ~remainder;
}

uint64_t xxh3(const void* data, size_t bytes) { return XXH3_64bits(data, bytes); }

struct Xxh3Stream::State {
  State() : state(XXH3_createState()) {
    if (state == nullptr) throw std::bad_alloc();
    XXH3_64bits_reset(state);
  }
  ~State() { XXH3_freeState(state); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  XXH3_state_t* state;
};

Xxh3Stream::Xxh3Stream() : state_(std::make_unique<State>()) {}
Xxh3Stream::~Xxh3Stream() = default;

void Xxh3Stream::update(const void* data, size_t bytes) {
  if (bytes > 0) XXH3_64bits_update(state_->state, data, bytes);
}

void Xxh3Stream::reset() { XXH3_64bits_reset(state_->state); }

uint64_t Xxh3Stream::digest() const { return XXH3_64bits_digest(state_->state); }

}  // namespace drover
