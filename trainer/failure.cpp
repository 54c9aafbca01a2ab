#include "trainer/failure.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <new>
#include <thread>

#include "kernels/base/host.h"

namespace drover {

ExitCode exit_code_of(const std::exception& error) {
  if (const Error* known = dynamic_cast<const Error*>(&error)) return known->code();
  if (dynamic_cast<const std::filesystem::filesystem_error*>(&error) != nullptr) return ExitCode::storage;
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? ExitCode::memory : ExitCode::internal;
}

void end_in_failure(World& world, const Mesh& mesh, const LauncherView& view, History& history, const std::exception& error,
                    std::optional<int64_t> step) {
  // Rank 0 speaks first, so that what all ranks agree on is said once: OpenMPI takes four seconds to end the ranks of other hosts. It
  // forwards what was printed before on another way than an error, which must come last.
  std::fflush(stdout);
  std::this_thread::sleep_for(world.rank() == 0 ? std::chrono::milliseconds(200) : std::chrono::seconds(5));
  const int code = static_cast<int>(exit_code_of(error));
  // Of what the ranks did together, the error itself does not know the step.
  const std::string text =
      (step && exit_code_of(error) == ExitCode::communication ? fmt::format("after step {}: ", *step) : "") + message_of(error);
  history.failed(exit_code_of(error), text);
  std::fputs(fmt::format("drover: error: {}{}{}\n", world.size() > 1 ? mesh.describe(world.rank()) : "",
                         view.local_size < view.size ? " on " + host_name() + ": "
                         : world.size() > 1          ? ": "
                                                     : "",
                         text)
                 .c_str(),
             stderr);
  world.abort(code);
}

}  // namespace drover
