// What a launcher's variables say, before MPI: as mpirun, srun and sbatch of Slurm 22.05 set them.
#include "parallel/world.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "kernels/base/threads.h"

namespace drover {
namespace {

using Variables = std::map<std::string, std::string>;

class Launcher : public ::testing::Test {
 protected:
  ~Launcher() override { set({}); }

  // These variables, and none of a launcher that the tests themselves may run under.
  static void set(const Variables& variables) {
    for (const char* name :
         {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "PMIX_RANK",
          "PMI_RANK", "PMI_FD", "PMI_CONTROL_PORT", "SLURM_PROCID", "SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS",
          "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_CPUS_PER_TASK"})
      unsetenv(name);
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  }
  static LauncherView view(const Variables& variables) {
    set(variables);
    return launcher_view();
  }
  // The third of five tasks on two nodes, of two cores each.
  static Variables srun() {
    return {{"SLURM_PROCID", "3"},  {"SLURM_STEP_ID", "0"}, {"SLURM_NTASKS", "5"},        {"SLURM_STEP_NUM_TASKS", "5"},
            {"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "1"},  {"SLURM_CPUS_PER_TASK", "2"}, {"SLURM_STEP_TASKS_PER_NODE", "3,2"}};
  }
};

TEST_F(Launcher, None) {
  const LauncherView found = view({});
  EXPECT_EQ(found.size, 1);
  EXPECT_EQ(found.launcher, "none");
}

TEST_F(Launcher, AShellInAnAllocationIsNoTask) {
  const LauncherView found = view({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "5"}});
  EXPECT_EQ(found.size, 1);
  EXPECT_EQ(found.launcher, "none");
}

TEST_F(Launcher, MpirunInsideAnAllocation) {
  Variables all = srun();
  all.insert({{"OMPI_COMM_WORLD_RANK", "6"},
              {"OMPI_COMM_WORLD_SIZE", "8"},
              {"OMPI_COMM_WORLD_LOCAL_RANK", "2"},
              {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
              {"PMIX_RANK", "6"}});
  const LauncherView found = view(all);
  EXPECT_EQ(found.launcher, "mpirun");
  EXPECT_EQ(found.rank, 6);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 2);
  EXPECT_EQ(found.local_size, 4);
}

TEST_F(Launcher, SrunWithPmix) {
  Variables all = srun();
  all["PMIX_RANK"] = "3";
  const LauncherView found = view(all);
  EXPECT_EQ(found.launcher, "pmix");
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 5);
  EXPECT_EQ(found.local_rank, 0);
  EXPECT_EQ(found.local_size, 2);
  EXPECT_EQ(found.cores, 2);
}

TEST_F(Launcher, TasksOfThisNode) {
  for (const auto& [list, node, tasks] : {std::tuple{"4", "0", 4},
                                          {"4(x3)", "2", 4},
                                          {"4(x2),3", "1", 4},
                                          {"4(x2),3", "2", 3},
                                          {"1,4(x2),2", "3", 2},
                                          {"", "0", 5},
                                          {"3", "7", 5}}) {
    Variables all = srun();
    all["SLURM_STEP_TASKS_PER_NODE"] = list;
    all["SLURM_NODEID"] = node;
    EXPECT_EQ(view(all).local_size, tasks) << list << " on node " << node;
  }
}

// What MPI could not connect is told from what it might.
TEST_F(Launcher, SrunWithoutPmixIsRefused) {
  const LauncherView found = view(srun());
  EXPECT_EQ(found.launcher, "slurm");
  const std::string says = separate_processes(found);
  for (const char* word : {"5 processes", "srun --mpi=pmix", "launch/mpirun.sh -np 5"})
    EXPECT_NE(says.find(word), std::string::npos) << says;
  Variables alone = srun(), pmi2 = srun();
  alone["SLURM_NTASKS"] = alone["SLURM_STEP_NUM_TASKS"] = "1";
  pmi2["PMI_FD"] = "7";
  EXPECT_EQ(separate_processes(view(alone)), "");
  EXPECT_EQ(separate_processes(view(pmi2)), "");
  EXPECT_EQ(view(pmi2).launcher, "pmi");
}

TEST_F(Launcher, CoresOfARankAreItsOwnOrItsShare) {
  const int all = available_cores();
  EXPECT_EQ(cores_of_rank({.local_size = 1}), all);
  EXPECT_EQ(cores_of_rank({.local_size = 2}), std::max(1, all / 2));
  EXPECT_EQ(cores_of_rank({.local_size = 2 * all}), 1);
  // Given by the launcher: bound or not, it is not divided again.
  EXPECT_EQ(cores_of_rank({.local_size = 2, .cores = all}), all);
  EXPECT_EQ(cores_of_rank({.local_size = 2, .cores = 1}), 1);
  EXPECT_EQ(cores_of_rank({.local_size = 2, .cores = all + 5}), all);  // bound to fewer
}

}  // namespace
}  // namespace drover
