#include "kernels/base/hash.h"

#include <xxhash.h>

#include <new>

namespace drover {

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

uint64_t Xxh3Stream::digest() const { return XXH3_64bits_digest(state_->state); }

}  // namespace drover
