// Which work of one stream has to wait for which work of another: from what each piece of work reads and writes, in the order in which it is
// enqueued. Work of one stream is in order anyway. What an earlier wait implies is not waited for again: each stream knows how far the
// others had come (vector clocks: Fidge 1988, Mattern 1989), so that every wait that is left is needed.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace drover {

// One stream of a rank's step each.
enum class Purpose : uint8_t {
  compute,     // forward and backward, and the collectives between the parts of a layer
  transfers,   // between pipeline stages
  reductions,  // gradients of the units that are done, and afterwards their new weights
  copies,      // batches from the host
  count
};
constexpr size_t kPurposes = static_cast<size_t>(Purpose::count);

// Memory that more than one stream works on.
struct Resource {
  enum class Kind : uint8_t { input, output, gradient, weights, weight_gradients, batch };
  Kind kind;
  int index = 0;                                      // of a buffer of the stage, a unit, a micro-batch
  auto operator<=>(const Resource&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 takes its 0 for a pointer
};

struct Access {
  Resource resource;
  bool writes = false;
  auto operator<=>(const Access&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 takes its 0 for a pointer
};

class Dependencies {
 public:
  // The tick-th piece of work of a stream, counted from 1.
  struct Moment {
    Purpose purpose = Purpose::compute;
    int64_t tick = 0;
    bool operator==(const Moment&) const = default;
  };

  // Notes the next piece of work of `purpose`, and returns what its stream has to wait for first.
  std::vector<Moment> add(Purpose purpose, std::span<const Access> accesses);
  int64_t ticks(Purpose purpose) const { return known_[index(purpose)][index(purpose)]; }
  // The host has waited for all of a stream's work: nobody need wait for it, or for what it waited for, any more.
  void settled(Purpose purpose);

  // Moments of one stream that are told apart. An older one counts as the one that came to its place: later, which is safe.
  static constexpr int64_t kRing = 1024;

 private:
  using Clock = std::array<int64_t, kPurposes>;  // by stream: its work up to this tick is done
  struct Use {
    Moment write;
    Clock reads{};  // since that write, the last of each stream
  };

  static size_t index(Purpose purpose) { return static_cast<size_t>(purpose); }
  // What is known to be done when that tick is, as of the moment that now has its place in the ring.
  const Clock& at(size_t stream, int64_t tick) const { return past_[stream][static_cast<size_t>(tick % kRing)]; }

  std::map<Resource, Use> uses_;
  std::array<Clock, kPurposes> known_{};                    // by stream; its own ticks included
  std::array<std::array<Clock, kRing>, kPurposes> past_{};  // as of each tick
};

}  // namespace drover
