// Loads a checkpoint at the layout of a configuration and saves it again, unchanged, in another run directory: what a resume loads.
//
//   mpirun -np N resave_checkpoint CONFIG CHECKPOINT RUN_DIRECTORY [key=value]...
//
// Fails when a rank reads more bytes than it holds: nobody reads a whole tensor to keep a part.
#include <fmt/format.h>

#include "kernels/base/error.h"
#include "trainer/checkpoint/store.h"
#include "trainer/engine.h"
#include "trainer/preflight.h"

namespace drover {
namespace {

int resave(int count, char** arguments) {
  const LauncherView view = launcher_view();
  const Config config = resolve_config({.config = arguments[1], .overrides = {arguments + 4, arguments + count}}, view.size);
  World world(view);
  const Mesh mesh(config.parallel);
  GroupSet groups(world, mesh, config.model.tied_embeddings);
  Engine engine(config, mesh, world.rank(), groups.groups());

  CheckpointStore from(std::filesystem::path(arguments[2]).parent_path().parent_path(), world.all()), to(arguments[3], world.all());
  const CheckpointInfo info = from.verified(arguments[2]);
  const std::vector<Piece> held = engine.held_pieces();
  from.load(info, held);
  int64_t bytes = 0;
  for (const Piece& piece : held) bytes += piece.rectangle.extent.count() * 4;
  if (from.bytes_read() > bytes)
    throw Error(ExitCode::internal, fmt::format("rank {} read {} bytes and holds {}", world.rank(), from.bytes_read(), bytes));
  engine.publish();
  engine.set_applied(info.state.applied);
  RunState state = info.state;
  state.applied = engine.applied();
  to.save(state, engine.owned_pieces(false), 0);
  return 0;
}

}  // namespace
}  // namespace drover

int main(int count, char** arguments) {
  try {
    if (count < 4)
      throw drover::Error(drover::ExitCode::config, "resave_checkpoint CONFIG CHECKPOINT RUN_DIRECTORY [key=value]...");
    return drover::resave(count, arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "drover: error: {}\n", error.what());
    std::fflush(stderr);
    std::_Exit(1);
  }
}
