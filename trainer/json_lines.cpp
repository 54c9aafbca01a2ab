#include "trainer/json_lines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace drover {

JsonLines::JsonLines(const std::filesystem::path& path) : file_(path, std::ios::binary) {
  if (!std::filesystem::exists(path)) return;
  if (!std::filesystem::is_regular_file(path) || !file_)
    throw Error(ExitCode::storage, fmt::format("cannot read {}: {}", path.string(),
                                               std::filesystem::is_regular_file(path) ? std::strerror(errno) : "not a file"));
}

bool JsonLines::next(nlohmann::json& object) {
  while (std::getline(file_, line_) && !file_.eof()) {
    object = nlohmann::json::parse(line_, nullptr, false);
    if (object.is_object()) return true;
    ++damaged_;
  }
  return false;
}

void for_each_json(const std::filesystem::path& path,
                   const std::function<void(const std::string& line, const nlohmann::json& object)>& body) {
  JsonLines lines(path);
  for (nlohmann::json object; lines.next(object);) body(lines.line(), object);
}

File open_append(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) throw Error(ExitCode::storage, fmt::format("cannot append to {}: {}", path.string(), std::strerror(errno)));
  return File::adopt(descriptor, path);
}

void append_line(File& file, const std::filesystem::path& path, std::string line) {
  line += '\n';
  const ssize_t written = write(file.descriptor(), line.data(), line.size());
  if (written != static_cast<ssize_t>(line.size()))
    throw Error(ExitCode::storage,
                fmt::format("cannot write {}: {}", path.filename().string(), std::strerror(written < 0 ? errno : ENOSPC)));
}

std::string json_number(double value) { return std::isfinite(value) ? fmt::format("{:.17g}", value) : "null"; }

}  // namespace drover
