#include "trainer/dependencies.h"

#include <algorithm>

namespace drover {
namespace {

void raise(std::array<int64_t, kPurposes>& clock, const std::array<int64_t, kPurposes>& other) {
  for (size_t i = 0; i < kPurposes; ++i) clock[i] = std::max(clock[i], other[i]);
}

}  // namespace

std::vector<Dependencies::Moment> Dependencies::add(Purpose purpose, std::span<const Access> accesses) {
  const size_t mine = index(purpose);
  Clock& known = known_[mine];
  Clock needed{};
  for (const Access& access : accesses) {
    const Use& use = uses_[access.resource];
    int64_t& of_writer = needed[index(use.write.purpose)];
    of_writer = std::max(of_writer, use.write.tick);
    if (access.writes) raise(needed, use.reads);
  }

  std::vector<Moment> waits;
  for (size_t stream = 0; stream < kPurposes; ++stream) {
    if (stream == mine || needed[stream] <= known[stream]) continue;
    bool implied = false;
    for (size_t other = 0; other < kPurposes; ++other)
      implied = implied || (other != stream && other != mine && needed[other] > known[other] &&
                            at(other, needed[other])[stream] >= needed[stream]);
    if (implied)
      needed[stream] = 0;
    else
      waits.push_back({static_cast<Purpose>(stream), at(stream, needed[stream])[stream]});
  }
  for (const Moment& wait : waits) raise(known, at(index(wait.purpose), wait.tick));

  const int64_t tick = ++known[mine];
  past_[mine][static_cast<size_t>(tick % kRing)] = known;
  for (const Access& access : accesses) {
    Use& use = uses_[access.resource];
    if (access.writes)
      use = {{purpose, tick}, {}};
    else
      use.reads[mine] = tick;
  }
  return waits;
}

void Dependencies::settled(Purpose purpose) {
  const Clock done = known_[index(purpose)];
  for (Clock& known : known_) raise(known, done);
}

}  // namespace drover
