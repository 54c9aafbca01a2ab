#include "parallel/world.h"

#include <mpi.h>

#include <cstdlib>
#include <vector>

#include "parallel/mpi_communicator.h"

namespace drover {
namespace {

int variable(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::atoi(text);
}

}  // namespace

LauncherView launcher_view() {
  if (variable("OMPI_COMM_WORLD_RANK", -1) >= 0)
    return {variable("OMPI_COMM_WORLD_RANK", 0), variable("OMPI_COMM_WORLD_SIZE", 1), variable("OMPI_COMM_WORLD_LOCAL_RANK", 0),
            variable("OMPI_COMM_WORLD_LOCAL_SIZE", 1), "mpirun"};
  // A shell inside an allocation has SLURM_NTASKS too; only a started task has SLURM_PROCID and a step.
  const bool slurm_task = variable("SLURM_PROCID", -1) >= 0 && variable("SLURM_STEP_ID", -1) >= 0;
  const int tasks = variable("SLURM_STEP_NUM_TASKS", variable("SLURM_NTASKS", 1));
  const int local_size = variable("SLURM_STEP_TASKS_PER_NODE", tasks);
  if (variable("PMIX_RANK", -1) >= 0) return {variable("PMIX_RANK", 0), tasks, variable("SLURM_LOCALID", 0), local_size, "pmix"};
  if (slurm_task) return {variable("SLURM_PROCID", 0), tasks, variable("SLURM_LOCALID", 0), local_size, "slurm"};
  return {};
}

World::World(const LauncherView& view) : rank_(view.rank), size_(view.size) {
  if (view.size == 1) {
    all_ = make_self_communicator("world");
    return;
  }
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
    throw Error(ExitCode::communication, "MPI_Init failed; `mpirun -np 2 true` shows whether MPI works on this machine");
  initialized_ = true;
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  if (size != view.size) {
    abandoned_ = true;
    throw Error(ExitCode::communication, "the launcher (" + view.launcher + ") started " + std::to_string(view.size) +
                                             " processes, but MPI sees " + std::to_string(size) + ": they would train " +
                                             std::to_string(view.size) +
                                             " separate models. Start them with `srun --mpi=pmix` or with launch/mpirun.sh -np " +
                                             std::to_string(view.size));
  }
  all_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, "world", false);
}

World::~World() {
  if (!initialized_) return;
  all_.reset();
  if (!abandoned_) MPI_Barrier(MPI_COMM_WORLD);
  if (!abandoned_) MPI_Finalize();
}

std::unique_ptr<Communicator> World::split(int color, const std::string& name) {
  if (size_ == 1) return make_self_communicator(name);
  MPI_Comm communicator;
  if (MPI_Comm_split(MPI_COMM_WORLD, color, rank_, &communicator) != MPI_SUCCESS)
    throw Error(ExitCode::communication, "cannot form the group " + name);
  int size = 0;
  MPI_Comm_size(communicator, &size);
  if (size > 1) return std::make_unique<MpiCommunicator>(communicator, name, true);
  MPI_Comm_free(&communicator);
  return make_self_communicator(name);
}

void World::abort(int exit_code) {
  if (initialized_) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

GroupSet::GroupSet(World& world, const Mesh& mesh, bool tied_embeddings) : world_(world) {
  DROVER_CHECK(mesh.size() == world.size(),
               "mesh of " + std::to_string(mesh.size()) + " ranks in a world of " + std::to_string(world.size()));
  // The lowest rank of a group names it.
  const auto split = [&](const char* name, const std::vector<Axis>& axes) {
    return world.split(mesh.group(world.rank(), axes).front(), name);
  };
  tp_ = split("tp", {Axis::tp});
  pp_ = split("pp", {Axis::pp});
  shard_ = split("shard", {Axis::dp_shard});
  replicate_ = split("replicate", {Axis::dp_replicate});
  const int stage = mesh.coordinate(world.rank(), Axis::pp);
  const bool end = stage == 0 || stage == mesh.size(Axis::pp) - 1;
  const int pipeline = mesh.group(world.rank(), std::vector<Axis>{Axis::pp}).front();
  tied_ = world.split(tied_embeddings && end ? pipeline : world.size() + world.rank(), "tied");
}

CommTotals Groups::totals() const {
  CommTotals sum;
  for (const Communicator* group : {&world, &tp, &pp, &shard, &replicate, &tied}) {
    sum.calls += group->totals().calls;
    sum.bytes += group->totals().bytes;
    sum.seconds += group->totals().seconds;
  }
  return sum;
}

Groups GroupSet::groups() { return {world_.all(), *tp_, *pp_, *shard_, *replicate_, *tied_}; }

}  // namespace drover
