// MPI's life in one process, and the groups of the mesh, by purpose. Built once, passed down; nothing is global.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/group_watch.h"
#include "parallel/mesh.h"

namespace drover {

// Rank and size as the launcher's variables say (OpenMPI's, PMIx's, Slurm's, another MPI's), before MPI starts; {0, 1} when there is no
// launcher.
struct LauncherView {
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  int cores = 0;                  // of each rank, as it was asked for (srun --cpus-per-task); 0: not said
  std::string launcher = "none";  // "mpirun", "pmix", "pmi", "slurm" (tasks that MPI cannot connect), "none"
};
LauncherView launcher_view();

// Cores that one rank may keep busy: those it was given, whether or not it is bound to them, else its share of the affinity mask.
int cores_of_rank(const LauncherView& view);

// Tasks that `srun` started without PMIx or PMI cannot find each other, and OpenMPI may abort in MPI_Init instead of saying so: what is
// wrong and the remedy, "" when MPI can be tried.
std::string separate_processes(const LauncherView& view);

class World {
 public:
  // A world of one never calls MPI_Init. Throws Error(communication), with the remedy, when the ranks cannot be or were not connected: they
  // would be N worlds of one (`srun` without PMIx).
  explicit World(const LauncherView& view);
  ~World();  // MPI_Finalize after a barrier, unless abandon() was called
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Communicator& all() { return *all_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  // The group of the ranks that share `color`, ordered by rank. Collective over the world; a group of one is Self.
  std::unique_ptr<Communicator> split(int color, const std::string& name);

  // Brings the whole job down at once with this exit code (MPI_Abort), for failures that the other ranks do not know of.
  [[noreturn]] void abort(int exit_code);
  // What the destructor does, for a process that ends without destructors.
  void finish();
  void abandon() { abandoned_ = true; }

 private:
  int rank_ = 0, size_ = 1;
  bool initialized_ = false, abandoned_ = false;
  std::unique_ptr<Communicator> all_;
};

// One group by purpose; each has a stream of its own on devices that have streams.
struct Groups {
  Communicator& world;
  Communicator& tp;           // splits every matrix; sequence parallel around the norms
  Communicator& pp;           // point-to-point between stages
  Communicator& shard;        // ranks that divide the optimizer state
  Communicator& replicate;    // ranks that hold copies of it
  Communicator& tied;         // first and last stage, for the tied embedding; Self when untied or pp = 1
  CommTotals totals() const;  // of all of them together
};

// How the tensors of ranks on GPUs travel.
struct GpuGroups {
  Device device{};    // this rank's
  bool nccl = false;  // else by way of host memory and MPI
  // Says what went wrong while no call was there to throw it (GroupWatch); then the process ends.
  std::function<void(const std::string&)> failed;
};

class GroupSet {  // owns what Groups points to
 public:
  // Collective. Throws Error(communication) where the ranks cannot be connected.
  GroupSet(World& world, const Mesh& mesh, bool tied_embeddings, const GpuGroups& gpus = {});
  Groups groups();

 private:
  std::unique_ptr<Communicator> tp_, pp_, shard_, replicate_, tied_;
  // What the groups above and the world's go through on a GPU; none on the cpu.
  std::vector<std::unique_ptr<Communicator>> of_gpus_;
  std::vector<Communicator*> all_;   // in the order of Groups' members
  std::optional<GroupWatch> watch_;  // last: its thread uses the others
};

}  // namespace drover
