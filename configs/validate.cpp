#include "configs/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "kernels/base/error.h"

namespace drover {
namespace {

std::string join(const std::vector<int64_t>& values) {
  return values.empty() ? "none" : fmt::format("{}", fmt::join(values, ", "));
}

constexpr int64_t kMostMicrobatches = 32767;  // a step's program numbers them in 16 bits

class Validator {
 public:
  Validator(LoadedConfig& loaded, int64_t ranks)
      : loaded_(loaded), c_(loaded.config), ranks_(ranks), violations_(loaded.violations) {}

  std::vector<Violation> run() {
    if (!violations_.empty()) return violations_;  // half-read values would only make more noise
    derive();
    model();
    layout();
    batch();
    sizes();
    rest();
    return violations_;
  }

 private:
  void violate(const std::string& key, const std::string& message) {
    const auto place = loaded_.places.find(key);
    violations_.push_back({place == loaded_.places.end() ? key : place->second, message});
  }

  void derive() {
    ModelConfig& m = c_.model;
    if (m.kv_heads == 0) m.kv_heads = m.heads;
    if (m.head_dim == 0) {
      if (m.hidden % m.heads != 0)
        violate("model.heads",
                fmt::format("model.hidden {} is no multiple of model.heads {}: give model.head_dim", m.hidden, m.heads));
      m.head_dim = std::max<int64_t>(1, m.hidden / m.heads);
    }
    const int64_t inner = c_.parallel.tp * c_.parallel.pp * c_.parallel.cp;
    if (c_.parallel.dp == 0 && ranks_ % inner == 0) c_.parallel.dp = ranks_ / inner;
    if (c_.run.dir.empty()) c_.run.dir = "runs/" + stem();
  }
  std::string stem() const {
    for (const auto& [key, place] : loaded_.places)
      if (!place.starts_with("--set")) return std::filesystem::path(place.substr(0, place.rfind(':'))).stem().string();
    return "run";
  }

  void model() {
    const ModelConfig& m = c_.model;
    if (m.heads % m.kv_heads != 0)
      violate("model.kv_heads", fmt::format("model.kv_heads {} must divide model.heads {}; divisors: {}", m.kv_heads, m.heads,
                                            join(divisors(m.heads))));
    if (m.head_dim % 2 != 0)
      violate("model.head_dim", fmt::format("model.head_dim {} must be even: rotary embedding turns pairs", m.head_dim));
    if (m.rope_scaling.factor != 1 && m.rope_scaling.high_freq_factor <= m.rope_scaling.low_freq_factor)
      violate("model.rope_scaling.high_freq_factor", "model.rope_scaling.high_freq_factor must be above low_freq_factor");
  }

  static std::vector<int64_t> divisors(int64_t n) {
    std::vector<int64_t> all;
    for (int64_t d = 1; d <= n && all.size() < 32; ++d)
      if (n % d == 0) all.push_back(d);
    return all;
  }

  bool tp_works(int64_t tp) const {
    const ModelConfig& m = c_.model;
    return m.heads % tp == 0 && m.kv_heads % tp == 0 && m.ffn % tp == 0 && (c_.train.micro_batch * c_.train.sequence) % tp == 0;
  }
  std::vector<int64_t> working_tp() const {
    std::vector<int64_t> works;
    for (int64_t tp = 1; tp <= c_.model.kv_heads; ++tp)
      if (tp_works(tp)) works.push_back(tp);
    return works;
  }

  void layout() {
    const ParallelConfig& p = c_.parallel;
    if (p.cp != 1) violate("parallel.cp", fmt::format("parallel.cp {}: context parallelism is not in this version; 1", p.cp));
    const auto divides = [&](const char* what, int64_t value) {
      if (value % p.tp != 0)
        violate("parallel.tp", fmt::format("parallel.tp {} does not divide {} {}; tp that work for this model and batch: {}", p.tp,
                                           what, value, join(working_tp())));
    };
    divides("model.heads", c_.model.heads);
    divides("model.kv_heads", c_.model.kv_heads);
    divides("model.ffn", c_.model.ffn);
    divides("train.micro_batch * train.sequence =", c_.train.micro_batch * c_.train.sequence);
    if (p.pp > c_.model.layers)
      violate("parallel.pp", fmt::format("parallel.pp {}: every stage needs a layer, model.layers is {}; at most {}", p.pp,
                                         c_.model.layers, c_.model.layers));
    const int64_t inner = p.tp * p.pp * p.cp;
    if (p.dp == 0) {
      violate("parallel.tp", fmt::format("{} ranks cannot be divided into tp {} * pp {}{}; {}", ranks_, p.tp, p.pp,
                                         p.cp > 1 ? fmt::format(" * cp {}", p.cp) : "", rank_alternatives(inner)));
    } else if (p.dp * inner != ranks_) {
      violate(
          "parallel.dp",
          fmt::format(
              "dp {} * tp {} * pp {} * cp {} = {} ranks, but there are {}; leave parallel.dp out to derive it, or start {} ranks",
              p.dp, p.tp, p.pp, p.cp, p.dp * inner, ranks_, p.dp * inner));
    }
  }
  std::string rank_alternatives(int64_t inner) const {
    std::vector<std::string> layouts;
    for (int64_t tp : working_tp())
      for (int64_t pp = 1; pp <= std::min(ranks_, c_.model.layers) && layouts.size() < 12; ++pp)
        if (ranks_ % (tp * pp) == 0) layouts.push_back(fmt::format("tp {} pp {}", tp, pp));
    return fmt::format("start a multiple of {} ranks, or for {} ranks: {}", inner, ranks_,
                       layouts.empty() ? "none" : fmt::format("{}", fmt::join(layouts, "; ")));
  }

  void batch() {
    if (c_.parallel.dp == 0) return;
    const int64_t unit = c_.train.micro_batch * c_.parallel.dp, batch = c_.train.global_batch;
    if (batch % unit != 0) {
      const int64_t below = batch / unit * unit;
      violate("train.global_batch",
              fmt::format("train.global_batch {} must be a multiple of train.micro_batch {} * dp {} = {}; nearest: {}", batch,
                          c_.train.micro_batch, c_.parallel.dp, unit,
                          below == 0 ? std::to_string(unit) : fmt::format("{} or {}", below, below + unit)));
    } else if (batch / unit > kMostMicrobatches) {
      violate(
          "train.global_batch",
          fmt::format("train.global_batch {} is {} micro-batches a step, at most {}: a larger train.micro_batch or dp needs fewer",
                      batch, batch / unit, kMostMicrobatches));
    }
  }

  // No product of sizes overflows, in whatever unit it is counted. In double, because here it might.
  void sizes() {
    constexpr double kMost = 9007199254740992;  // 2^53
    const ModelConfig& m = c_.model;
    const auto real = [](int64_t value) { return static_cast<double>(value); };
    const double q = real(m.heads) * real(m.head_dim), qkv = q + 2 * real(m.kv_heads) * real(m.head_dim);
    const double parameters =
        real(m.hidden) * (real(m.layers) * (q + qkv + 3 * real(m.ffn)) + (m.tied_embeddings ? 1 : 2) * real(m.vocab));
    const double width = std::max({real(m.hidden), qkv, 2 * real(m.ffn), real(m.vocab)});
    const double activations = real(c_.train.micro_batch) * real(c_.train.sequence) * width;
    if (parameters > kMost)
      violate("model.hidden", fmt::format("a model of {:.1e} parameters: at most {:.1e}", parameters, kMost));
    else if (activations > kMost)
      violate("train.micro_batch",
              fmt::format("train.micro_batch {} * train.sequence {} tokens {:.0f} wide: at most {:.1e} elements",
                          c_.train.micro_batch, c_.train.sequence, width, kMost));
    const double tokens = real(c_.train.steps) * real(c_.train.global_batch) * real(c_.train.sequence);
    if (tokens > kMost) violate("train.steps", fmt::format("a run of {:.1e} tokens: at most {:.1e}", tokens, kMost));
  }

  void rest() {
    if (c_.optimizer.warmup_steps > c_.train.steps && c_.train.steps > 0)
      violate("optimizer.warmup_steps",
              fmt::format("optimizer.warmup_steps {} is above train.steps {}", c_.optimizer.warmup_steps, c_.train.steps));
    if (c_.optimizer.lr <= 0) violate("optimizer.lr", "optimizer.lr must be above 0");
    for (const auto& [key, beta] :
         {std::pair{"optimizer.beta1", c_.optimizer.beta1}, std::pair{"optimizer.beta2", c_.optimizer.beta2}})
      if (beta >= 1) violate(key, fmt::format("{} must be below 1", key));
    if (c_.data.train.empty()) violate("data.train", "data.train is missing: a directory that `drover prepare` made");
    if (c_.run.device != "auto" && c_.run.device != "cpu")
      violate("run.device", fmt::format("run.device \"{}\": this version runs on cpu ranks; auto or cpu", c_.run.device));
    if (c_.checkpoint.resume.empty())
      violate("checkpoint.resume", "checkpoint.resume: auto, must, never or a checkpoint directory");
  }

  LoadedConfig& loaded_;
  Config& c_;
  int64_t ranks_;
  std::vector<Violation> violations_;
};

}  // namespace

std::vector<Violation> resolve_and_validate(LoadedConfig& loaded, int64_t ranks) { return Validator(loaded, ranks).run(); }

void throw_if_any(const std::vector<Violation>& violations) {
  if (violations.empty()) return;
  std::string text = violations.size() == 1 ? "the configuration breaks a rule"
                                            : fmt::format("the configuration breaks {} rules", violations.size());
  for (const Violation& violation : violations) text += fmt::format("\n  {}: {}", violation.where, violation.message);
  throw Error(ExitCode::config, text);
}

Config tiny(const Config& config) {
  Config small = config;
  ParallelConfig& p = small.parallel;
  p.dp = 0;
  p.tp = std::min<int64_t>(p.tp, 2);
  p.pp = std::min<int64_t>(p.pp, 2);
  ModelConfig& m = small.model;
  const int64_t group = std::min<int64_t>(m.heads / m.kv_heads, 4);
  const bool uneven = config.model.layers % config.parallel.pp != 0;
  m.layers = p.pp + (uneven && p.pp > 1 ? 1 : 0) + (p.pp == 1 ? 1 : 0);
  m.kv_heads = 2;
  m.heads = 2 * group;
  m.head_dim = 16;
  m.hidden = 64;
  m.ffn = 128;
  m.vocab = 258;
  small.train.steps = 3;
  small.train.sequence = 64;
  small.train.micro_batch = 1;
  small.train.global_batch = 16;
  small.train.validate_every = 0;
  small.train.validation_batches = 1;
  small.optimizer.warmup_steps = std::min<int64_t>(small.optimizer.warmup_steps, 1);
  small.run.threads = 1;
  small.run.device = "cpu";
  small.run.dir = config.run.dir.empty() ? "" : config.run.dir + "_tiny";
  return small;
}

}  // namespace drover
