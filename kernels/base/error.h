// Errors and checks. Every failure that a person can cause is an `Error`: what, where, why, the valid
// choices, and the exit code with which the process ends (listed in README.md).
#pragma once
#include <exception>
#include <stdexcept>
#include <string>

namespace drover {

enum class ExitCode : int {
  done = 0,
  internal = 1,
  config = 2,
  resume = 3,
  data = 4,
  memory = 5,
  communication = 6,
  storage = 7,
  hardware = 8,
  different = 10,
  requeue = 75,
  never_requeue = 93,
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// what(), but what std::filesystem says as "PATH: reason".
std::string message_of(const std::exception& error);

// Throws Error(internal) with the place and the failed condition: a broken promise inside Drover, never user input.
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);

}  // namespace drover

// An invariant of the code. `message` is evaluated only on failure.
#define DROVER_CHECK(condition, message) \
  (static_cast<bool>(condition) ? void(0) : ::drover::check_failed(#condition, __FILE__, __LINE__, (message)))
