// Schedules against a judge that runs them, and the verifier against the same judge on every small fault.
#include "parallel/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/parallel/interpreter.h"

namespace drover {
namespace {

struct Lowered {
  PipelineShape shape;
  LowerOptions options;
  std::vector<Program> schedule, programs;
};

Lowered make(ScheduleKind kind, int stages, int microbatches, int units, bool recompute, bool tied) {
  Lowered made;
  made.shape = {stages, microbatches, std::vector<int>(static_cast<size_t>(stages), units)};
  for (int s = 0; s < stages; ++s) {
    const bool training = kind == ScheduleKind::one_f_one_b;
    std::vector<bool> again;
    std::vector<int> reduced, replicated;
    for (int u = 0; u < units; ++u) {
      again.push_back(recompute && (u + s) % 3 != 1);  // some units with, some without
      if (training) reduced.push_back(u);
      if (training && (u + s) % 2 == 0) replicated.push_back(u);
    }
    if (training && tied && s == stages - 1) reduced.push_back(units), replicated.push_back(units);
    made.options.recompute.push_back(again);
    made.options.reduced.push_back(reduced);
    made.options.replicated.push_back(replicated);
  }
  made.schedule = make_schedule(kind, made.shape);
  made.programs = lower(made.schedule, made.shape, made.options);
  return made;
}

// The verifier and the judge agree on `programs`; returns whether they are legal.
bool agree(const Lowered& made, const std::vector<Program>& programs, const std::string& what) {
  const std::vector<std::string> problems = verify(programs, made.shape, made.options);
  const std::string stopped = Interpreter(programs, made.shape, made.options).run();
  EXPECT_EQ(problems.empty(), stopped.empty()) << what << "\n  verifier: " << (problems.empty() ? "legal" : problems.front())
                                               << "\n  judge: " << (stopped.empty() ? "legal" : stopped);
  return stopped.empty();
}

struct Counts {
  int legal_swaps = 0, illegal_swaps = 0;
};

// Every deletion, duplication and adjacent swap of one action.
Counts judge_faults(const Lowered& made) {
  Counts counts;
  std::vector<Program> broken = made.programs;
  for (size_t s = 0; s < broken.size() && !testing::Test::HasFailure(); ++s) {
    const Program whole = made.programs[s];
    for (size_t i = 0; i < whole.size(); ++i) {
      const std::string where = "at " + std::to_string(i) + " of stage " + std::to_string(s) + ", " + to_string(whole[i]);
      const auto place = static_cast<std::ptrdiff_t>(i);
      broken[s].erase(broken[s].begin() + place);
      EXPECT_FALSE(agree(made, broken, "without the action " + where));
      broken[s] = whole;
      broken[s].insert(broken[s].begin() + place, whole[i]);
      EXPECT_FALSE(agree(made, broken, "twice the action " + where));
      broken[s] = whole;
      if (i + 1 == whole.size()) continue;
      std::swap(broken[s][i], broken[s][i + 1]);
      ++(agree(made, broken, "swapped " + where) ? counts.legal_swaps : counts.illegal_swaps);
      broken[s] = whole;
    }
  }
  return counts;
}

class Pipelines : public testing::TestWithParam<std::tuple<int, int>> {
 protected:
  int stages() const { return std::get<0>(GetParam()); }
  int microbatches() const { return std::get<1>(GetParam()); }
  // Calls body(made) for one to three units a stage, with and without recompute and tied copy.
  template <class Body> void for_every_variant(Body&& body) const {
    for (int units = 1; units <= 3; ++units)
      for (const bool recompute : {false, true})
        for (const bool tied : {false, true})
          if (!tied || stages() > 1) body(make(ScheduleKind::one_f_one_b, stages(), microbatches(), units, recompute, tied));
  }
};

TEST_P(Pipelines, LoweredProgramsAreLegal) {
  for_every_variant([](const Lowered& made) {
    EXPECT_EQ(Interpreter(made.programs, made.shape, made.options).run(), "");
    EXPECT_EQ(verify(made.programs, made.shape, made.options), std::vector<std::string>{});
  });
  for (int units = 1; units <= 3; ++units)
    EXPECT_TRUE(agree(make(ScheduleKind::forward_only, stages(), microbatches(), units, false, false),
                      make(ScheduleKind::forward_only, stages(), microbatches(), units, false, false).programs, "forward only"));
}

TEST_P(Pipelines, VerifierAgreesWithTheJudgeOnEverySmallFault) {
  Counts counts;
  for_every_variant([&](const Lowered& made) {
    const Counts more = judge_faults(made);
    counts.legal_swaps += more.legal_swaps;
    counts.illegal_swaps += more.illegal_swaps;
  });
  EXPECT_GT(counts.illegal_swaps, 0);
  EXPECT_GT(counts.legal_swaps, 0);
  judge_faults(make(ScheduleKind::forward_only, stages(), microbatches(), 2, false, false));
}

TEST_P(Pipelines, HoldsAtMostAsManyMicrobatchesAsStagesFollow) {
  for_every_variant([&](const Lowered& made) {
    for (int s = 0; s < stages(); ++s) {
      const int bound = std::min(stages() - s, microbatches());
      EXPECT_EQ(peak_in_flight(made.schedule[static_cast<size_t>(s)]), bound);
      EXPECT_EQ(peak_in_flight(made.programs[static_cast<size_t>(s)]), bound);
    }
  });
}

TEST_P(Pipelines, BubbleIsThatOfTheFormula) {
  const Lowered made = make(ScheduleKind::one_f_one_b, stages(), microbatches(), 1, false, false);
  const double p = stages(), m = microbatches();
  EXPECT_NEAR(bubble_fraction(made.schedule, made.shape), (p - 1) / (m + p - 1), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Small, Pipelines, testing::Combine(testing::Range(1, 5), testing::Range(1, 9)), [](const auto& of) {
  return "pp" + std::to_string(std::get<0>(of.param)) + "_m" + std::to_string(std::get<1>(of.param));
});

TEST(Schedule, OneForwardOneBackwardAsInThePaper) {
  const PipelineShape shape{2, 3, {1, 1}};
  const auto schedule = make_schedule(ScheduleKind::one_f_one_b, shape);
  const auto words = [](const Program& program) {
    std::string text;
    for (const Action& action : program) text += (text.empty() ? "" : " ") + to_string(action);
    return text;
  };
  EXPECT_EQ(words(schedule[0]), "F 0.0 F 0.1 B 0.0 F 0.2 B 0.1 B 0.2");
  EXPECT_EQ(words(schedule[1]), "F 1.0 B 1.0 F 1.1 B 1.1 F 1.2 B 1.2");
  EXPECT_EQ(draw(schedule, shape),
            "stage 0  |F0  F1  .   .   B0  B0  F2  B1  B1  .   B2  B2  \n"
            "stage 1  |.   F0  B0  B0  F1  B1  B1  F2  B2  B2  .   .   \n");
}

TEST(Schedule, StagesOfDifferentNumbersOfUnits) {
  Lowered made;
  made.shape = {3, 4, {3, 1, 2}};
  made.options = {{{true, false, true}, {true}, {false, true}}, {{0}, {}, {2}}, {{0, 1, 2}, {0}, {0, 1, 2}}};
  made.schedule = make_schedule(ScheduleKind::one_f_one_b, made.shape);
  made.programs = lower(made.schedule, made.shape, made.options);
  EXPECT_TRUE(agree(made, made.programs, "as lowered"));
  judge_faults(made);
}

// Neighbours change places above; a reduction is also moved to every earlier place.
TEST(Schedule, ReductionsMovedForward) {
  for (int units = 1; units <= 3; ++units)
    for (int stages = 1; stages <= 3; ++stages) {
      const Lowered made = make(ScheduleKind::one_f_one_b, stages, 3, units, units == 2, stages > 1);
      for (size_t s = 0; s < made.programs.size(); ++s)
        for (size_t from = 0; from < made.programs[s].size(); ++from) {
          if (made.programs[s][from].microbatch >= 0) continue;
          std::vector<Program> moved = made.programs;
          for (size_t to = from; to > 0; --to) {
            std::swap(moved[s][to], moved[s][to - 1]);
            agree(made, moved, to_string(made.programs[s][from]) + " moved to " + std::to_string(to - 1));
          }
        }
    }
}

TEST(Schedule, ActionsOfAnotherRankAreRefused) {
  Lowered made = make(ScheduleKind::one_f_one_b, 2, 2, 2, false, false);
  std::swap(made.programs[0], made.programs[1]);
  EXPECT_FALSE(agree(made, made.programs, "programs of the wrong ranks"));
}

// Each rank in its own good order, and yet they wait for each other: stage 0 sends a second activation while stage 1 sends a gradient.
TEST(Schedule, FindsADeadlockOfWellOrderedPrograms) {
  Lowered made = make(ScheduleKind::one_f_one_b, 2, 2, 1, false, false);
  Program& later = made.programs[1];
  const auto find = [&](Op op, int m) {
    return std::find_if(later.begin(), later.end(), [&](const Action& a) { return a.op == op && a.microbatch == m; });
  };
  const auto receive = find(Op::recv_act, 1);
  const auto gradient = find(Op::send_grad, 0);
  ASSERT_LT(receive, gradient);
  std::rotate(receive, receive + 1, gradient + 1);
  EXPECT_FALSE(agree(made, made.programs, "receives after sending"));
}

}  // namespace
}  // namespace drover
