#include "trainer/recordings.h"

namespace drover {
namespace {

// Without seconds: those of a capture are not those of a launch.
Stream::Totals difference(const Stream::Totals& after, const Stream::Totals& before) {
  Stream::Totals cost{};
  for (size_t kind = 0; kind < cost.size(); ++kind)
    cost[kind] = {after[kind].calls - before[kind].calls, after[kind].flops - before[kind].flops,
                  after[kind].bytes - before[kind].bytes, 0};
  return cost;
}

}  // namespace

void Recordings::run(const Key& key, Stream& stream, const Call& work) {
  const auto [found, fresh] = recordings_.try_emplace(key);
  if (fresh) return work(stream);
  if (!found->second.done) return record(found->second, stream, work);
  replay(found->second, stream);
}

void Recordings::record(Recording& recording, Stream& stream, const Call& work) {
  const Stream::Totals before = stream.totals();
  current_ = &recording;
  capture_.emplace(stream);
  try {
    work(stream);
    end_part(stream);
  } catch (...) {
    capture_.reset();
    throw;
  }
  recording.cost = difference(stream.totals(), before);
  recording.done = true;
}

void Recordings::apart(Stream& stream, const Call& call) {
  if (!capture_) return call(stream);
  end_part(stream);
  call(stream);
  current_->parts.push_back({{}, call});
  capture_.emplace(stream);
}

void Recordings::end_part(Stream& stream) {
  Graph graph = capture_->end();
  capture_.reset();
  if (graph.empty()) return;
  graph.launch(stream);
  current_->parts.push_back({std::move(graph), {}});
}

void Recordings::replay(const Recording& recording, Stream& stream) {
  for (const Part& part : recording.parts)
    if (part.call)
      part.call(stream);
    else
      part.graph.launch(stream);
  stream.add(recording.cost);
}

}  // namespace drover
