#include "trainer/event_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <map>

#include "kernels/base/error.h"
#include "trainer/event.pb.h"
#include "trainer/record_file.h"

namespace drover {
namespace {

namespace fs = std::filesystem;

using Steps = std::map<int64_t, std::vector<float>>;

class Events : public ::testing::Test {
 protected:
  Events() {
    std::string name = fs::temp_directory_path() / "events_XXXXXX";
    directory_ = mkdtemp(name.data());
  }
  ~Events() override { fs::remove_all(directory_); }

  // A start that goes on after `last_step` and adds one scalar a step: step + offset.
  void train(int64_t last_step, int64_t to, float offset = 0) const {
    EventFile file(directory_, last_step);
    for (int64_t step = last_step + 1; step <= to; ++step) {
      const Scalar scalar[] = {{"loss", static_cast<double>(step) + offset}};
      file.add(step, scalar);
    }
  }

  // Every scalar of all files, in order, by step; nothing is purged.
  Steps steps() const {
    Steps found;
    for (const fs::path& path : event_files(directory_)) {
      RecordReader reader(path);
      std::string data;
      for (pb::Event event; reader.next(data) && event.ParseFromString(data);)
        for (const pb::Summary::Value& value : event.summary().value()) found[event.step()].push_back(value.simple_value());
      EXPECT_EQ(reader.offset(), static_cast<int64_t>(fs::file_size(path))) << "bytes that are no record";
    }
    return found;
  }
  static Steps expected(int64_t kept, int64_t to, float offset) {
    Steps all;
    for (int64_t step = 1; step <= to; ++step) all[step] = {static_cast<float>(step) + (step <= kept ? 0 : offset)};
    return all;
  }

  fs::path directory_;
};

// The first bytes of every event file that TensorFlow and TensorBoard write: the length, 24, and its masked CRC, then wall time (here 0)
// and the version.
TEST(RecordFile, FramesAsTensorFlowDoes) {
  const std::string message = std::string("\x09\0\0\0\0\0\0\0\0", 9) + "\x1a\x0d" + "brain.Event:2";
  const std::string record = frame_record(message);
  ASSERT_EQ(record.size(), 24u + 16u);
  EXPECT_EQ(record.substr(0, 12), std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22", 12));
  EXPECT_EQ(record.substr(12, 24), message);
}

TEST_F(Events, ReaderStopsAtTheFirstFlippedOrMissingByte) {
  const fs::path path = directory_ / "records";
  const std::string first = frame_record("first"), second = frame_record(std::string(300, 's')), all = first + second;
  for (size_t at = 0; at < all.size(); ++at)
    for (const bool cut : {false, true}) {
      std::string damaged = cut ? all.substr(0, at) : all;
      if (!cut) damaged[at] ^= 0x10;
      std::ofstream(path, std::ios::binary) << damaged;
      RecordReader reader(path);
      std::string data;
      int records = 0;
      while (reader.next(data)) ++records;
      EXPECT_EQ(records, at < first.size() ? 0 : 1) << "byte " << at << (cut ? " missing" : " flipped");
      EXPECT_EQ(reader.offset(), at < first.size() ? 0 : static_cast<int64_t>(first.size()));
    }
}

TEST_F(Events, ALengthBeyondTheFileIsNotAllocated) {
  std::string record = frame_record("x");
  const uint64_t length = uint64_t{1} << 62;
  std::string header(reinterpret_cast<const char*>(&length), sizeof length);
  // The framing of the length alone is that of a record whose data are these eight bytes.
  const std::string framed = frame_record(header);
  std::ofstream(directory_ / "records", std::ios::binary) << header << framed.substr(framed.size() - 4) << record;
  RecordReader reader(directory_ / "records");
  std::string data;
  EXPECT_FALSE(reader.next(data));
}

TEST_F(Events, AFileBeginsWithVersionAndStartMark) {
  train(41, 41);
  ASSERT_EQ(event_files(directory_).size(), 1u);
  RecordReader reader(event_files(directory_).front());
  std::string data;
  pb::Event event;
  ASSERT_TRUE(reader.next(data) && event.ParseFromString(data));
  EXPECT_EQ(event.file_version(), "brain.Event:2");
  ASSERT_TRUE(reader.next(data) && event.ParseFromString(data));
  EXPECT_EQ(event.session_log().status(), pb::SessionLog::START);
  EXPECT_EQ(event.step(), 42);
}

TEST_F(Events, ZeroAndNotANumberAreValuesToo) {
  {
    EventFile file(directory_, 0);
    const Scalar scalars[] = {{"lr", 0.0}, {"loss", std::nan("")}};
    file.add(1, scalars);
  }
  RecordReader reader(event_files(directory_).front());
  std::string data;
  pb::Event event;
  while (reader.next(data)) ASSERT_TRUE(event.ParseFromString(data));
  ASSERT_EQ(event.summary().value_size(), 2);
  EXPECT_EQ(event.summary().value(0).value_case(), pb::Summary::Value::kSimpleValue);
  EXPECT_EQ(event.summary().value(0).tag(), "lr");
  EXPECT_TRUE(std::isnan(event.summary().value(1).simple_value()));
}

TEST_F(Events, AResumeDropsTheStepsThatComeAgain) {
  train(0, 10);
  train(6, 12, 0.5);
  EXPECT_EQ(event_files(directory_).size(), 2u);
  EXPECT_EQ(steps(), expected(6, 12, 0.5));
}

// Killed at any byte of what was written after the checkpoint.
TEST_F(Events, AnyTornEndIsCutOff) {
  train(0, 3);
  const fs::path first = event_files(directory_).front();
  const uintmax_t kept = fs::file_size(first);
  for (const auto& path : event_files(directory_)) fs::remove(path);
  train(0, 5);
  const fs::path whole = directory_ / "whole";
  fs::rename(event_files(directory_).front(), whole);
  for (uintmax_t size = kept; size <= fs::file_size(whole); ++size) {
    for (const auto& path : event_files(directory_)) fs::remove(path);
    const fs::path torn = directory_ / first.filename();
    fs::copy_file(whole, torn);
    fs::resize_file(torn, size);
    train(3, 6, 0.5);
    EXPECT_EQ(steps(), expected(3, 6, 0.5)) << "killed after " << size << " bytes";
  }
}

TEST_F(Events, ZerosThatAFailedDiskLeftAreCutOff) {
  train(0, 4);
  fs::resize_file(event_files(directory_).front(), fs::file_size(event_files(directory_).front()) + 4096);
  train(4, 5, 0.5);
  EXPECT_EQ(steps(), expected(4, 5, 0.5));
}

// Back beyond several starts. No file goes away under a TensorBoard that is reading it.
TEST_F(Events, AnEarlierStepCutsOlderFilesToo) {
  train(0, 4);
  train(4, 8);
  train(8, 12);
  train(2, 3, 0.5);
  EXPECT_EQ(event_files(directory_).size(), 4u);
  EXPECT_EQ(steps(), expected(2, 3, 0.5));
}

// By name, as TensorBoard orders them: starts within one second, and after a host whose clock is ahead.
TEST_F(Events, ALaterStartHasALaterName) {
  train(0, 1);
  const fs::path ahead = directory_ / "events.out.tfevents.9000000000.host";
  fs::rename(event_files(directory_).front(), ahead);
  train(1, 2);
  train(2, 3);
  ASSERT_EQ(event_files(directory_).size(), 3u);
  EXPECT_EQ(event_files(directory_).front(), ahead);
  EXPECT_EQ(steps(), expected(3, 3, 0));
}

TEST_F(Events, AFullDiskIsAStorageError) {
  EventFile file(directory_, 0);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none{0, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  ExitCode code = ExitCode::done;
  try {
    const Scalar scalar[] = {{"loss", 1}};
    file.add(1, scalar);
  } catch (const Error& error) {
    code = error.code();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(code, ExitCode::storage);
}

}  // namespace
}  // namespace drover
