#include "kernels/base/error.h"

#include <filesystem>

namespace drover {

std::string message_of(const std::exception& error) {
  const auto* of_path = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (of_path == nullptr) return error.what();
  const std::string to = of_path->path2().empty() ? "" : " to " + of_path->path2().string();
  return of_path->path1().string() + to + ": " + of_path->code().message();
}

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  throw Error(ExitCode::internal, std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition +
                                      (message.empty() ? "" : ": " + message));
}

}  // namespace drover
