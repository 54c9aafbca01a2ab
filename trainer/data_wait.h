// A step or an evaluation on batches that may be late.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "kernels/base/error.h"
#include "kernels/base/words.h"
#include "trainer/console.h"
#include "trainer/engine.h"
#include "trainer/signals.h"

namespace drover {

class DataWait {
 public:
  static constexpr double kPatience = 5;  // seconds without data after which the ranks ask each other whether to stop

  DataWait(const StopSignals& signals, Console& console, int ranks) : signals_(signals), console_(console), ranks_(ranks) {}

  // body(batches at `consumed`, request). While they have not come on some rank, all ranks run it on what they have and throw it away, so that
  // they hear of each other's stop requests; only then a result with `waiting` is returned. `step`: the one before, for messages.
  template <class Body> auto with_data(Loader& loader, int64_t consumed, int64_t step, Body&& body) {
    std::optional<std::vector<Batch>> batches;
    for (bool told = false;; told = true) {
      const Clock::time_point begin = Clock::now();
      if (!batches && loader.wait(consumed, std::max(kPatience, seconds_of_attempt_))) batches = take(loader, consumed, step);
      const Clock::time_point start = Clock::now();
      const auto result =
          body(batches ? *batches : loader.stale(), {.stop = [this] { return signals_.requested(); }, .no_data = !batches});
      seconds_of_attempt_ = seconds_since(start);
      if (result.waiting == 0 || result.stop) return result;
      if (!told)
        console_.line(fmt::format("after step {}: no data on {} of {} ranks for {}; waiting", step, result.waiting, ranks_,
                                  duration_text(seconds_since(begin))));
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }
  static std::vector<Batch> take(Loader& loader, int64_t consumed, int64_t step) {
    try {
      return loader.next(consumed);
    } catch (const Error& error) {  // a read does not know for which step it was
      throw Error(error.code(), fmt::format("after step {}: {}", step, error.what()));
    }
  }

  const StopSignals& signals_;
  Console& console_;
  const int ranks_;
  double seconds_of_attempt_ = 0;  // of the last one, without the wait
};

}  // namespace drover
