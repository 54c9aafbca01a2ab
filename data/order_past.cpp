// What a run has read already cannot become another order.
#include <fmt/format.h>

#include <algorithm>

#include "data/sample_order.h"

namespace drover {
namespace {

class Past {
 public:
  Past(const OrderSpec& before, const OrderSpec& now, int64_t consumed)
      : before_(before), now_(now), order_(before), consumed_(consumed) {}

  std::vector<std::string> changes() {
    if (consumed_ > 0) compare_packing();
    int64_t begin = 0, tokens = 0;  // of the phase
    for (size_t p = 0; begin < consumed_; ++p) {
      const OrderPhase &was = before_.phases[p], &is = now_.phases[p];
      if (was.sequence != is.sequence) add("phase {}: sequence {} -> {}", p + 1, was.sequence, is.sequence);
      compare_sources(p);
      compare_end(p, begin, tokens);
      if (!lines_.empty() || was.end >= consumed_) break;  // what follows would follow from it, or has not begun
      tokens += (was.end - begin) * was.sequence;
      begin = was.end;
    }
    compare_skip();
    return lines_;
  }

 private:
  template <class... Arguments> void add(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    lines_.push_back(fmt::format(text, std::forward<Arguments>(arguments)...));
  }

  static const OrderSource* find(const OrderSpec& spec, const std::string& name) {
    for (const OrderSource& source : spec.sources)
      if (source.name == name) return &source;
    return nullptr;
  }
  static int64_t share(const OrderSpec& spec, size_t phase, const OrderSource* source) {
    return source == nullptr ? 0 : spec.phases[phase].shares[static_cast<size_t>(source - spec.sources.data())];
  }

  void compare_sources(size_t phase) {
    for (const OrderSource& is : now_.sources)
      if (find(before_, is.name) == nullptr && share(now_, phase, &is) > 0)
        add("phase {}: source {} is new in it; give it weight 0 there, and another in a phase that has not begun", phase + 1,
            is.name);
    for (const OrderSource& was : before_.sources) {
      const int64_t share_before = share(before_, phase, &was);
      const OrderSource* is = find(now_, was.name);
      const int64_t share_now = share(now_, phase, is);
      const auto percent = [](int64_t of_all) { return 100 * static_cast<double>(of_all) / static_cast<double>(kAllShares); };
      if (share_before != share_now)
        add("phase {}: {} of {:.6g} % -> {:.6g} %; another weight needs a phase of its own", phase + 1, was.name,
            percent(share_before), percent(share_now));
      if (share_before == 0 || is == nullptr) continue;
      if (was.tokens != is->tokens)
        add("source {}: {} tokens -> {}; give new data a source of its own", was.name, was.tokens, is->tokens);
      if (was.block != is->block && before_.window > 0)
        add("source {}: blocks of {} tokens -> {}: packed documents are read by the longest sequence, or, in several sequences, by "
            "a window of it; read it there under another name, as a source of its own",
            was.name, was.block, is->block);
      else if (was.block != is->block)
        add("source {}: longest sequence {} -> {}, of which its blocks are; read it there under another name, as a source of its "
            "own, "
            "or in sequences up to {}",
            was.name, was.block, is->block, was.block);
      if (was.seed != is->seed) add("source {}: another train.seed", was.name);
    }
  }

  void compare_packing() {
    const auto text = [](const OrderSpec& spec) {
      return spec.window == 0 ? std::string("contiguous")
                              : fmt::format("best_fit in windows of {} samples of at most {} documents", spec.window, spec.pieces);
    };
    if (before_.window != now_.window || before_.pieces != now_.pieces)
      add("data.packing: {} -> {}; samples that are read would hold other tokens", text(before_), text(now_));
  }

  // A block of draws that is begun stays as long as it is.
  void compare_end(size_t phase, int64_t begin, int64_t tokens) {
    const int64_t was = before_.phases[phase].end, is = now_.phases[phase].end;
    if (was == is) return;
    int64_t least = kNoEnd + 1;  // valid end, beside what it was; none
    if (consumed_ <= was) {
      const int64_t last = order_.block_end(consumed_ - 1);
      if (!order_.shuffles(static_cast<int>(phase)))
        least = consumed_;
      else if ((last - begin) % order_.block_samples(static_cast<int>(phase)) == 0)
        least = last;
    }
    if (is >= least) return;
    const auto text = [&](int64_t end) {
      return end >= kNoEnd
                 ? std::string("the end of the run")
                 : fmt::format("sample {} (until_tokens {})", end, tokens + (end - begin) * before_.phases[phase].sequence);
    };
    add("phase {}: its end at {} -> {}, but {} samples are read; valid: {}{}", phase + 1, text(was), text(is), consumed_, text(was),
        least > kNoEnd ? "" : ", or from " + text(least) + " on");
  }

  void compare_skip() {
    const auto passed = [&](const OrderSpec& spec) {
      std::vector<SampleRange> ranges;
      for (const SampleRange& range : spec.skip)
        if (range.begin < consumed_) ranges.push_back({range.begin, std::min(range.end, consumed_)});
      return ranges;
    };
    const auto text = [](const std::vector<SampleRange>& ranges) {
      std::string all;
      for (const SampleRange& range : ranges) all += fmt::format("{}{} to {}", all.empty() ? "" : ", ", range.begin, range.end);
      return all.empty() ? "none" : all;
    };
    const std::vector<SampleRange> was = passed(before_), is = passed(now_);
    if (was != is)
      add("data.skip: of the {} samples that are read, skipped {} -> {}; to leave out some of them, resume from a checkpoint "
          "before them",
          consumed_, text(was), text(is));
  }

  const OrderSpec &before_, &now_;
  SampleOrder order_;
  int64_t consumed_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> changed_past(const OrderSpec& before, const OrderSpec& now, int64_t consumed) {
  return Past(before, now, consumed).changes();
}

}  // namespace drover
