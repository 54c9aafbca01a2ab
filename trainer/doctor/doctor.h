// `drover doctor`: what a run needs, measured before it starts, as a table of go and no-go with remedies.
#pragma once
#include <string>
#include <vector>

#include "parallel/world.h"
#include "trainer/doctor/checks.h"

namespace drover {

struct DoctorRequest {
  std::string config;                  // YAML file of the run to come; may be empty
  std::vector<std::string> overrides;  // key.path=value
  std::string libraries;               // versions, as a person reads them
};

// Throws Error(config) for a configuration that does not load. Without one: run directory "runs", of which nothing is known.
Needs doctor_needs(const DoctorRequest& request);

// Collective over the launcher's ranks: measures and, on rank 0, prints. Returns the exit code: done or hardware.
int examine_ranks(const DoctorRequest& request, const LauncherView& view);

// Of this process alone, where the ranks of a job told nothing; `complaint` says why.
int examine_without_mpi(const DoctorRequest& request, int ranks, const std::string& complaint);

}  // namespace drover
