// Go or no-go, from what was measured: no machine is touched here.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "configs/config.h"
#include "trainer/doctor/facts.h"
#include "trainer/doctor/network.h"

namespace drover {

struct Check {
  std::string name;
  bool go = true;
  std::string measured;  // values, with the hosts they are of
  std::string remedy;    // of a no-go
};

// What the run will ask for.
struct Needs {
  std::string directory;         // of the run
  int64_t checkpoint_bytes = 0;  // of one checkpoint; 0: not known
  int64_t checkpoints = 0;       // that must still find room, at most at once; 0: not known
  bool more = false;             // beside those that are there
  int64_t threads = 0;           // a rank; 0: as many as there are cores for
};

// Of the machine alone.
std::vector<Check> check_machine(const std::vector<Facts>& ranks, const Needs& needs);
// Of the ranks together; `unheard`: what connect_ring said where the heartbeat's connections cannot be made.
std::vector<Check> check_together(const std::vector<Facts>& ranks, const Network& network, const std::string& unheard);

// One line a check, the remedies below theirs, and the verdict.
std::string doctor_table(const std::vector<Check>& checks, const std::string& title);
bool all_go(const std::vector<Check>& checks);

}  // namespace drover
