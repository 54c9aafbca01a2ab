// drover tokenizer train: a vocabulary of one's own, as tokenizer.json.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "data/tokenizer/count_words.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "kernels/base/threads.h"
#include "kernels/base/words.h"
#include "launch/commands.h"

namespace drover {
namespace {

// One line on a terminal that is drawn over; nothing in a log.
class Line {
 public:
  ~Line() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
  }
  void show(const std::string& text) {
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now - shown_ < std::chrono::milliseconds(200)) return;
    shown_ = now;
    fmt::print(stderr, "\r\033[K{}", text);
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) == 1;
  std::chrono::steady_clock::time_point shown_{};
};

}  // namespace

int train_tokenizer_command(const TrainTokenizerOptions& options) {
  const BpeTraining training{.vocab = options.vocab, .special = options.special};
  const auto least = static_cast<int64_t>(training.special.size()) + 256;
  if (options.vocab < least)
    throw Error(ExitCode::config, fmt::format("--vocab {}: {} and 256 bytes alone are {}", options.vocab,
                                              counted(static_cast<int64_t>(training.special.size()), "special token"), least));
  const std::string& pattern = pattern_named(options.pattern);
  BpeTrained trained;
  size_t words = 0;
  {
    Line line;
    const WordCounts counts = count_words(find_inputs({options.inputs, options.standard_input_format}), options.rules, pattern,
                                          options.workers > 0 ? options.workers : available_cores(), [&](int64_t bytes) {
                                            line.show(fmt::format("{:.1f} MB of text", static_cast<double>(bytes) / 1e6));
                                          });
    words = counts.words();
    if (words == 0) throw Error(ExitCode::data, "the inputs hold no text");
    trained = train_bpe(counts, training, [&](size_t merges) { line.show(fmt::format("{} merges", merges)); });
  }
  write_durably(options.out, tokenizer_json(trained, training, pattern));
  const auto tokenizer = make_tokenizer(options.out);  // as everybody else will read it
  fmt::print("{}: {}, {} from {}\n", options.out.string(), counted(tokenizer->vocab(), "id"),
             counted(static_cast<int64_t>(trained.merges.size()), "merge"), counted(static_cast<int64_t>(words), "different word"));
  if (tokenizer->vocab() < options.vocab)
    fmt::print("less than --vocab {}: no two neighbours were left that occur twice\n", options.vocab);
  return 0;
}

}  // namespace drover
