#include "trainer/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

namespace drover {
namespace {

// In a child of its own, since what is tested may end it. Returns waitpid's status.
template <class Body> int in_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

class Signals : public ::testing::TestWithParam<int> {};

TEST_P(Signals, FirstIsARequest) {
  const int status = in_child([] {
    StopSignals signals;
    if (signals.requested()) _exit(1);
    raise(GetParam());
    _exit(signals.requested() ? 42 : 2);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST_P(Signals, AnotherAfterItEndsTheProcess) {
  for (const bool installed_again : {false, true})
    for (const int second : {SIGINT, SIGTERM, SIGUSR1}) {
      const int status = in_child([&] {
        unsetenv("SLURM_JOB_ID");
        StopSignals signals;
        raise(GetParam());
        if (installed_again) {
          std::signal(second, SIG_IGN);  // a library's
          signals.install();
        }
        raise(second);
      });
      ASSERT_TRUE(WIFSIGNALED(status));
      EXPECT_EQ(WTERMSIG(status), second);
    }
}

// Slurm sends TERM twice when it preempts, and once more at the time limit after our own USR1.
TEST_P(Signals, TermAfterItIsTheSameRequestInASlurmJob) {
  const int status = in_child([] {
    setenv("SLURM_JOB_ID", "1", 1);
    StopSignals signals;
    raise(GetParam());
    raise(SIGTERM);
    signals.install();
    raise(SIGTERM);
    _exit(signals.requested() ? 42 : 2);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST_P(Signals, InstallingAgainKeepsWhatWasAsked) {
  const int status = in_child([] {
    StopSignals signals;
    raise(GetParam());
    signals.install();
    if (!signals.requested()) _exit(1);
    raise(SIGINT);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST_P(Signals, SurviveALibrarysHandler) {
  const int status = in_child([] {
    StopSignals signals;
    std::signal(GetParam(), SIG_DFL);
    signals.install();
    raise(GetParam());
    _exit(signals.requested() ? 42 : 2);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST(SignalsInASlurmJob, InterruptAndUser1StillEndIt) {
  for (const int second : {SIGINT, SIGUSR1}) {
    const int status = in_child([second] {
      setenv("SLURM_JOB_ID", "1", 1);
      StopSignals signals;
      raise(SIGTERM);
      raise(second);
    });
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), second);
  }
}

// A closing terminal sends HUP more than once, and nohup keeps it out.
TEST(SignalsHangUp, IsOneRequest) {
  const int status = in_child([] {
    StopSignals signals;
    raise(SIGHUP);
    if (!signals.requested()) _exit(1);
    raise(SIGHUP);
    signals.install();
    raise(SIGHUP);
    raise(SIGINT);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(SignalsHangUp, StaysOutWithNohup) {
  const int status = in_child([] {
    std::signal(SIGHUP, SIG_IGN);
    StopSignals signals;
    signals.install();
    raise(SIGHUP);
    _exit(signals.requested() ? 2 : 42);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST(SignalsPipe, AReaderThatIsGoneEndsNothing) {
  const int status = in_child([] {
    int ends[2];
    if (pipe(ends) != 0) _exit(1);
    close(ends[0]);
    StopSignals signals;
    _exit(write(ends[1], "x", 1) < 0 && !signals.requested() ? 42 : 2);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

INSTANTIATE_TEST_SUITE_P(All, Signals, ::testing::Values(SIGINT, SIGTERM, SIGUSR1),
                         [](const auto& test) { return std::string(sigabbrev_np(test.param)); });

}  // namespace
}  // namespace drover
