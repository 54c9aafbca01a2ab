// TensorBoard event files: RUN_DIR/events.out.tfevents.*, one a start, records (trainer/record_file.h) of messages (trainer/event.proto).
//
// Whatever was killed and resumed, all files of a directory together hold each step once: a start cuts the files of earlier starts back to
// the step it goes on from, as metrics.jsonl is cut. Its own file has a later number than theirs, by which TensorBoard orders them, and
// begins with a START mark, by which a TensorBoard that is already looking forgets what it read of the steps that come again.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/files.h"

namespace drover {

struct Scalar {
  const char* tag;
  double value;  // stored as f32; not finite: stored as such
};

class EventFile {
 public:
  // Cuts what is there back to steps <= last_step, then opens a new file. Files are read record by record, never whole.
  EventFile(const std::filesystem::path& directory, int64_t last_step);
  void add(int64_t step, std::span<const Scalar> scalars);  // one record, written by one write() call
  void sync() { file_.sync(); }

 private:
  void append(const std::string& message);
  File file_;
};

std::vector<std::filesystem::path> event_files(const std::filesystem::path& directory);  // oldest first

}  // namespace drover
