#include "data/document_hash.h"

#include <xxhash.h>

#include <new>

namespace drover {

DocumentHash document_hash(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.high64, hash.low64};
}

struct DocumentHashStream::State {
  State() : state(XXH3_createState()) {
    if (state == nullptr) throw std::bad_alloc();
    XXH3_128bits_reset(state);
  }
  ~State() { XXH3_freeState(state); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  XXH3_state_t* state;
};

DocumentHashStream::DocumentHashStream() : state_(std::make_unique<State>()) {}
DocumentHashStream::~DocumentHashStream() = default;

void DocumentHashStream::update(std::string_view text) {
  if (!text.empty()) XXH3_128bits_update(state_->state, text.data(), text.size());
}

DocumentHash DocumentHashStream::digest() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->state);
  return {hash.high64, hash.low64};
}

void DocumentHashStream::reset() { XXH3_128bits_reset(state_->state); }

}  // namespace drover
