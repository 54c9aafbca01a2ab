// How a run ends that cannot go on.
#pragma once
#include <cstdint>
#include <exception>
#include <optional>

#include "kernels/base/error.h"
#include "parallel/mesh.h"
#include "parallel/world.h"
#include "trainer/history.h"

namespace drover {

// An Error's own code; memory where the system refused some, storage for a file operation that failed; else internal.
ExitCode exit_code_of(const std::exception& error);

// Says on this rank what happened, and ends all ranks with its exit code. `step`: the last one finished, where the run had begun.
[[noreturn]] void end_in_failure(World& world, const Mesh& mesh, const LauncherView& view, History& history,
                                 const std::exception& error, std::optional<int64_t> step);

}  // namespace drover
