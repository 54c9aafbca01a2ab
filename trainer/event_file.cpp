#include "trainer/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "kernels/base/error.h"
#include "kernels/base/host.h"
#include "trainer/event.pb.h"
#include "trainer/record_file.h"

namespace drover {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

double wall_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

int64_t number_of(const std::filesystem::path& path) { return std::strtoll(path.filename().c_str() + kPrefix.size(), nullptr, 10); }

// Up to the first scalar of a later step or the first damaged record. A file that keeps nothing stays: a TensorBoard that is looking
// stands on the file it read last, and waits there for ever if it goes.
void cut_back(const std::filesystem::path& path, int64_t last_step) {
  RecordReader reader(path);
  std::string data;
  int64_t kept = 0;
  for (pb::Event event; reader.next(data) && event.ParseFromString(data); kept = reader.offset())
    if (event.has_summary() && event.step() > last_step) break;
  std::error_code error;
  std::filesystem::resize_file(path, static_cast<uintmax_t>(kept), error);
  if (error) throw Error(ExitCode::storage, fmt::format("cannot cut {} back: {}", path.string(), error.message()));
  File::open_read(path).sync();
}

File open_next(const std::filesystem::path& directory, int64_t last_step) {
  int64_t number = static_cast<int64_t>(wall_time());
  for (const std::filesystem::path& path : event_files(directory)) {
    number = std::max(number, number_of(path) + 1);  // clocks of hosts differ, and two starts may fall into one second
    cut_back(path, last_step);
  }
  File file = File::create(directory / fmt::format("{}{:010}.{}", kPrefix, number, host_name()));
  sync_directory(directory);
  return file;
}

}  // namespace

std::vector<std::filesystem::path> event_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().filename().string().starts_with(kPrefix)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

EventFile::EventFile(const std::filesystem::path& directory, int64_t last_step) : file_(open_next(directory, last_step)) {
  pb::Event event;
  event.set_wall_time(wall_time());
  event.set_file_version("brain.Event:2");
  append(event.SerializeAsString());
  event.set_step(last_step + 1);
  event.mutable_session_log()->set_status(pb::SessionLog::START);
  append(event.SerializeAsString());
}

void EventFile::append(const std::string& message) {
  const std::string record = frame_record(message);
  const ssize_t written = write(file_.descriptor(), record.data(), record.size());
  if (written != static_cast<ssize_t>(record.size()))
    throw Error(ExitCode::storage,
                fmt::format("cannot write TensorBoard's event file: {}", std::strerror(written < 0 ? errno : ENOSPC)));
}

void EventFile::add(int64_t step, std::span<const Scalar> scalars) {
  pb::Event event;
  event.set_wall_time(wall_time());
  event.set_step(step);
  for (const Scalar& scalar : scalars) {
    pb::Summary::Value* value = event.mutable_summary()->add_value();
    value->set_tag(scalar.tag);
    value->set_simple_value(static_cast<float>(scalar.value));
  }
  append(event.SerializeAsString());
}

}  // namespace drover
