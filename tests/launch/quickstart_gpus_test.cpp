// Where launch/quickstart trains, on machines with and without GPUs that are played. tests/launch/quickstart_test.py runs it for real.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "kernels/base/files.h"
#include "tests/end_to_end/run_drover.h"

namespace drover {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;

class QuickstartGpus : public ::testing::TestWithParam<int> {
 protected:
  QuickstartGpus() {
    const fs::path home = sandbox_.path();
    fs::create_directories(home / "launch");
    fs::create_directories(home / "build/release");
    fs::copy_file(DROVER_SOURCE_DIR "/launch/quickstart", home / "launch/quickstart");
    std::ofstream(home / "launch/packages.sh") << "build_packages=() optional_build_packages=()\n"
                                                  "install_packages() { :; }\nconfigure_preset() { :; }\n";
    std::ofstream(home / "text.txt") << "In the beginning God created the heaven and the earth.\n";
    play("bin/cmake", ":");
    play("bin/nvidia-smi", "[ \"$1\" = -L ] && cat gpus");
    play("launch/mpirun.sh", "echo \"mpirun $*\" >>calls; shift 2; exec \"$@\"");
    play("build/release/drover",
         "echo \"drover $*\" >>calls\ncase $1 in train) mkdir -p runs/quickstart/run; "
         "echo '{\"step\": 1, \"loss\": 5.5}' >runs/quickstart/run/metrics.jsonl ;; esac");
  }
  void play(const std::string& program, const std::string& shell) {
    const fs::path path = sandbox_.path() / program;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/bash\n" << shell << "\n";
    fs::permissions(path, fs::perms::all);
  }

  testing::Sandbox sandbox_;
};
INSTANTIATE_TEST_SUITE_P(All, QuickstartGpus, ::testing::Values(0, 1, 2, 8));

TEST_P(QuickstartGpus, AreTakenByARankEach) {
  const int gpus = GetParam();
  std::ofstream list(sandbox_.path() / "gpus");
  for (int gpu = 0; gpu < gpus; ++gpu) list << "GPU " << gpu << ": NVIDIA H100 80GB HBM3 (UUID: GPU-" << gpu << ")\n";
  list.close();
  const Outcome outcome = testing::run_command({"launch/quickstart", "--text", "text.txt"}, sandbox_.path(),
                                               {"PATH=" + (sandbox_.path() / "bin").string() + ":/usr/bin:/bin"});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  const std::string ranks = gpus == 1 ? "1" : "2", device = gpus == 0 ? "cpu" : "auto";
  EXPECT_NE(read_text(sandbox_.path() / "calls")
                .find("mpirun -np " + ranks +
                      " build/release/drover train configs/quickstart.yaml --set checkpoint.resume=auto --set run.device=" +
                      device + "\n"),
            std::string::npos)
      << read_text(sandbox_.path() / "calls");
  const std::string where = gpus == 0   ? "two ranks\n"
                            : gpus == 1 ? "one rank, for the one GPU that is here\n"
                                        : "two ranks, for two of the GPUs that are here\n";
  EXPECT_NE(outcome.output.find("train on " + where), std::string::npos) << outcome.output;
  // What it proposes next must work here: two ranks on one GPU are to be allowed.
  EXPECT_EQ(testing::count(outcome.output, "parallel.tp=2 --set run.ranks_per_gpu=2"), gpus == 1 ? 1 : 0) << outcome.output;
}

}  // namespace
}  // namespace drover
