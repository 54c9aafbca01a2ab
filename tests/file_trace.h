// The calls of this process that durability rests on, in order: the test binary's own mkdir, pwrite, fsync, rename and renameat2 note what they are
// asked for, and pass it on. What a power cut leaves is what was synced before it, and a name is safe once its directory is. And reads that fail.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace drover::testing {

struct FileCall {
  enum class Kind { make, write, sync, rename } kind;  // make: a directory
  std::string path, to;                                // `to`: of a rename
};

class FileTrace {  // one at a time; calls of all threads
 public:
  FileTrace();
  ~FileTrace();
  FileTrace(const FileTrace&) = delete;
  FileTrace& operator=(const FileTrace&) = delete;

  // Place of the first or last such call; a test failure, and -1, when there is none.
  int first(FileCall::Kind kind, const std::filesystem::path& path) const;
  int last(FileCall::Kind kind, const std::filesystem::path& path) const;
  int renamed_to(const std::filesystem::path& to) const;

  // `file` was synced after all that was written to it, and that before call number `before`.
  void expect_synced(const std::filesystem::path& file, int before) const;
  // `directory` was synced after call number `after` and, when `before` is given, before that one.
  void expect_directory_synced(const std::filesystem::path& directory, int after, int before = -1) const;
};

// While it lives, reads (pread) of files whose path ends so fail: with `error`, or (0) as if the file ended there; the first `times` of them.
class FailingReads {
 public:
  FailingReads(const std::string& path_ending, int error, int times);
  ~FailingReads();
  FailingReads(const FailingReads&) = delete;
  FailingReads& operator=(const FailingReads&) = delete;
  int failed() const;  // how often so far
};

}  // namespace drover::testing
