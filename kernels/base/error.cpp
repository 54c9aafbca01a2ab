#include "kernels/base/error.h"

namespace drover {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  throw Error(ExitCode::internal, std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition +
                                      (message.empty() ? "" : ": " + message));
}

}  // namespace drover
