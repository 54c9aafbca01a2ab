#include "tests/end_to_end/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

namespace drover::testing {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void execute(const std::vector<std::string>& command, const std::filesystem::path& directory,
                          const std::vector<std::string>& environment) {
  if (chdir(directory.c_str()) != 0) _exit(126);
  for (const std::string& variable : environment) putenv(const_cast<char*>(variable.c_str()));
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

// Parent of every process, from /proc/PID/stat: "pid (name) state parent ...".
std::map<pid_t, pid_t> parents() {
  std::map<pid_t, pid_t> result;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text;
    std::getline(file, text);
    const size_t close = text.rfind(')');
    if (close == std::string::npos) continue;
    char state = 0;
    pid_t parent = 0;
    std::istringstream(text.substr(close + 1)) >> state >> parent;
    if (state != 'Z') result[static_cast<pid_t>(std::stol(name))] = parent;
  }
  return result;
}

std::vector<pid_t> all_descendants(pid_t ancestor) {
  const std::map<pid_t, pid_t> parent = parents();
  std::vector<pid_t> found{ancestor};
  for (size_t i = 0; i < found.size(); ++i)
    for (const auto& [child, of] : parent)
      if (of == found[i]) found.push_back(child);
  found.erase(found.begin());
  return found;
}

}  // namespace

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of(" \r\n");
  if (end == std::string::npos) return "";
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

size_t distinct_lines(const std::string& text, const std::string& start) {
  std::set<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    if (line.rfind(start, 0) == 0) lines.insert(line);
  return lines.size();
}

Process::Process(const std::vector<std::string>& command, const std::filesystem::path& directory, Output output,
                 const std::vector<std::string>& environment) {
  if (output == Output::terminal) {
    pid_ = forkpty(&descriptor_, nullptr, nullptr, nullptr);
    if (pid_ == 0) execute(command, directory, environment);
  } else {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      execute(command, directory, environment);
    }
    close(ends[1]);
    descriptor_ = ends[0];
  }
  if (pid_ < 0) throw std::runtime_error("fork");
}

Process::~Process() {
  if (!reaped_) {
    for (const pid_t child : all_descendants(pid_)) kill(child, SIGKILL);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (descriptor_ >= 0) close(descriptor_);
}

bool Process::read_some(double seconds) {
  pollfd ready{descriptor_, POLLIN, 0};
  if (poll(&ready, 1, static_cast<int>(seconds * 1000)) <= 0) return true;
  char buffer[1 << 14];
  const ssize_t got = read(descriptor_, buffer, sizeof buffer);
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0) return false;  // a pseudo-terminal ends with EIO
  outcome_.output.append(buffer, static_cast<size_t>(got));
  return true;
}

bool Process::wait_for(const std::string& text) {
  while (outcome_.output.find(text) == std::string::npos)
    if (!read_some(1)) return outcome_.output.find(text) != std::string::npos;
  return true;
}

bool Process::run_for(double seconds) {
  const Clock::time_point end = Clock::now() + std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6));
  while (Clock::now() < end)
    if (!read_some(std::max(0.001, std::chrono::duration<double>(end - Clock::now()).count()))) return false;
  return true;
}

void Process::type(const std::string& keys) const {
  if (write(descriptor_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size())) throw std::runtime_error("cannot type");
}

Outcome Process::wait() {
  while (read_some(1)) {
  }
  int status = 0;
  while (!reaped_ && waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  outcome_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome_;
}

std::vector<pid_t> descendants(pid_t ancestor, const std::string& executable) {
  std::vector<pid_t> found;
  for (const pid_t child : all_descendants(ancestor)) {
    std::error_code gone;
    if (std::filesystem::read_symlink("/proc/" + std::to_string(child) + "/exe", gone).filename() == executable)
      found.push_back(child);
  }
  std::sort(found.begin(), found.end());
  return found;
}

Outcome run_command(const std::vector<std::string>& command, const std::filesystem::path& directory,
                    const std::vector<std::string>& environment) {
  return Process(command, directory, Process::Output::pipe, environment).wait();
}

}  // namespace drover::testing
