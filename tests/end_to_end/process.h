// Child processes of the end-to-end tests: started with their output captured, watched, killed, never left behind.
#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace drover::testing {

struct Outcome {
  int code = -1;       // as a shell says it: 128 + signal
  std::string output;  // standard output and error, as they came
};

// The last line that is not empty.
std::string last_line(const std::string& text);
int count(const std::string& text, const std::string& part);
// Of the lines that begin with `start`, how many differ.
size_t distinct_lines(const std::string& text, const std::string& start);

class Process {
 public:
  enum class Output { pipe, terminal };  // terminal: a pseudo-terminal of its own, on which type() is the keyboard

  // `environment`: NAME=value, added to the test's own.
  Process(const std::vector<std::string>& command, const std::filesystem::path& directory, Output output = Output::pipe,
          const std::vector<std::string>& environment = {});
  ~Process();  // kills what is left of it, descendants included
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // True once the output contains `text`, false when the process ended without it.
  bool wait_for(const std::string& text);
  // Lets `seconds` pass; false when the process ends before.
  bool run_for(double seconds);
  void type(const std::string& keys) const;
  const std::string& output() const { return outcome_.output; }  // so far
  Outcome wait();

 private:
  bool read_some(double seconds);  // false at the end of the output

  pid_t pid_ = -1;
  int descriptor_ = -1;
  bool reaped_ = false;
  Outcome outcome_;
};

// All living descendants of a process whose executable has this file name, by process id.
std::vector<pid_t> descendants(pid_t ancestor, const std::string& executable);

Outcome run_command(const std::vector<std::string>& command, const std::filesystem::path& directory,
                    const std::vector<std::string>& environment = {});

}  // namespace drover::testing
