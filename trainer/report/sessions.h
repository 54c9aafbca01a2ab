// The starts and stops of a run in words and tables, from its history.
#pragma once
#include <string>
#include <vector>

#include "trainer/history.h"

namespace drover::report {

// How a start ended, or that it has not. `running`: it is the last one, and some process holds the run directory.
struct Outcome {
  std::string text, style;  // style: good | warn | bad
};
Outcome outcome(const Session& session, bool running);

std::string sessions_table(const std::vector<Session>& sessions, bool running);
std::string changes_table(const std::vector<Session>& sessions);
std::string time_table(const std::vector<Session>& sessions);  // where rank 0's time went, over all starts

}  // namespace drover::report
