#include "trainer/streams.h"

namespace drover {

Streams::Streams(Device device) : compute_(device) {
  if (device.type == DeviceType::cpu) return;
  for (size_t i = 1; i < kPurposes; ++i) others_.push_back(std::make_unique<Stream>(&compute_));
}

Stream& Streams::stream(Purpose purpose) {
  return purpose == Purpose::compute ? compute_ : *others_[static_cast<size_t>(purpose) - 1];
}

Event& Streams::event(Purpose purpose, int64_t tick) {
  return events_[static_cast<size_t>(purpose)][static_cast<size_t>(tick % Dependencies::kRing)];
}

Stream& Streams::begin(Purpose purpose, const std::vector<Access>& accesses) {
  Stream& mine = stream(purpose);
  for (const Dependencies::Moment& moment : dependencies_.add(purpose, accesses)) event(moment.purpose, moment.tick).wait(mine);
  return mine;
}

void Streams::end(Purpose purpose) { event(purpose, dependencies_.ticks(purpose)).record(stream(purpose)); }

}  // namespace drover
