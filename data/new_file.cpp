#include "data/new_file.h"

#include "kernels/base/error.h"

namespace drover {

NewFile::NewFile(std::filesystem::path path) : path_(std::move(path)), temporary_(path_.string() + ".tmp") {
  if (std::filesystem::exists(path_))
    throw Error(ExitCode::data, path_.string() + " is there already; choose another --out, or remove it");
  make_directories(path_.parent_path());
  file_ = File::create(temporary_);
}

NewFile::~NewFile() {
  if (!file_) return;
  file_.reset();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void NewFile::append(std::span<const std::byte> bytes) {
  file_->write_at(bytes_, bytes.data(), bytes.size());
  bytes_ += std::ssize(bytes);
}

void NewFile::rewrite(std::span<const std::byte> begin) { file_->write_at(0, begin.data(), begin.size()); }

void NewFile::finish() {
  file_->sync();
  file_.reset();
  std::filesystem::rename(temporary_, path_);
  sync_directory(path_.parent_path());
}

}  // namespace drover
