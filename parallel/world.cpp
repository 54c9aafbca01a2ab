#include "parallel/world.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/base/host.h"
#include "kernels/base/threads.h"
#include "parallel/cuda/nccl_communicator.h"
#include "parallel/mpi_communicator.h"
#include "parallel/staged_communicator.h"

namespace drover {
namespace {

int variable(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::atoi(text);
}

bool is_set(const char* name) { return std::getenv(name) != nullptr; }

// Slurm's count of tasks on one node, from a list such as "4(x2),3": four on each of the first two nodes, three on the third.
int tasks_on_node(const char* list, int node, int otherwise) {
  for (const char* at = list; at != nullptr && *at != '\0';) {
    char* end = nullptr;
    const long tasks = std::strtol(at, &end, 10);
    const long nodes = std::strncmp(end, "(x", 2) == 0 ? std::strtol(end + 2, nullptr, 10) : 1;
    if (node < nodes) return static_cast<int>(tasks);
    node -= static_cast<int>(nodes);
    at = std::strchr(end, ',');
    if (at != nullptr) ++at;
  }
  return otherwise;
}

std::string remedy(const LauncherView& view) {
  const std::string size = std::to_string(view.size);
  return "they would train " + size +
         " separate models. Start them with `srun --mpi=pmix` (`srun --mpi=list` says whether this Slurm " +
         "has it) or with launch/mpirun.sh -np " + size;
}

}  // namespace

int cores_of_rank(const LauncherView& view) {
  const int cores = available_cores();
  return view.cores > 0 ? std::min(view.cores, cores) : std::max(1, cores / std::max(1, view.local_size));
}

LauncherView launcher_view() {
  if (variable("OMPI_COMM_WORLD_RANK", -1) >= 0)
    return {.rank = variable("OMPI_COMM_WORLD_RANK", 0),
            .size = variable("OMPI_COMM_WORLD_SIZE", 1),
            .local_rank = variable("OMPI_COMM_WORLD_LOCAL_RANK", 0),
            .local_size = variable("OMPI_COMM_WORLD_LOCAL_SIZE", 1),
            .launcher = "mpirun"};
  // A shell inside an allocation has SLURM_NTASKS too; only a started task has SLURM_PROCID and a step.
  const bool slurm_task = variable("SLURM_PROCID", -1) >= 0 && variable("SLURM_STEP_ID", -1) >= 0;
  const bool pmix = variable("PMIX_RANK", -1) >= 0;
  if (!pmix && !slurm_task) {
    // Another MPI's mpirun, whose processes our MPI may not connect: World sees.
    const int others = variable("PMI_SIZE", 1);
    if (others == 1) return {};
    return {.rank = variable("PMI_RANK", 0),
            .size = others,
            .local_rank = variable("MPI_LOCALRANKID", 0),
            .local_size = variable("MPI_LOCALNRANKS", others),
            .launcher = "pmi"};
  }
  // What --mpi=pmi2 and Cray's plugin set; an MPI that was built for them connects its ranks.
  const bool pmi = is_set("PMI_RANK") || is_set("PMI_FD") || is_set("PMI_CONTROL_PORT");
  const int tasks = variable("SLURM_STEP_NUM_TASKS", variable("SLURM_NTASKS", 1));
  return {.rank = variable(pmix ? "PMIX_RANK" : "SLURM_PROCID", 0),
          .size = tasks,
          .local_rank = variable("SLURM_LOCALID", 0),
          .local_size = tasks_on_node(std::getenv("SLURM_STEP_TASKS_PER_NODE"), variable("SLURM_NODEID", 0), tasks),
          .cores = variable("SLURM_CPUS_PER_TASK", 0),
          .launcher = pmix  ? "pmix"
                      : pmi ? "pmi"
                            : "slurm"};
}

std::string separate_processes(const LauncherView& view) {
  if (view.launcher != "slurm" || view.size == 1) return "";
  return "srun started " + std::to_string(view.size) + " processes without PMIx: MPI cannot connect them, and " + remedy(view);
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
                                             " processes, but MPI sees " + std::to_string(size) + ": " + remedy(view));
  }
  all_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, "world", false);
}

World::~World() { finish(); }

void World::finish() {
  if (!initialized_) return;
  initialized_ = false;
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

GroupSet::GroupSet(World& world, const Mesh& mesh, bool tied_embeddings, const GpuGroups& gpus) {
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
  all_ = {&world.all(), tp_.get(), pp_.get(), shard_.get(), replicate_.get(), tied_.get()};
  if (gpus.device.type == DeviceType::cpu) return;
  const nccl::Membership membership{gpus.device, "rank " + std::to_string(world.rank()) + "@" + host_name(),
                                    std::make_shared<std::atomic<bool>>(false)};
  for (Communicator*& group : all_) {
    if (group->size() == 1) continue;
    of_gpus_.push_back(gpus.nccl ? nccl::make_communicator(*group, membership) : make_staged_communicator(*group));
    group = of_gpus_.back().get();
  }
  if (gpus.nccl && !of_gpus_.empty()) watch_.emplace(all_, gpus.failed);
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

Groups GroupSet::groups() { return {*all_[0], *all_[1], *all_[2], *all_[3], *all_[4], *all_[5]}; }

}  // namespace drover
