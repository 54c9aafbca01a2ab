#include "trainer/memory_limit.h"

#include <gtest/gtest.h>

#include "configs/validate.h"
#include "tests/trainer/testing.h"
#include "trainer/memory_table.h"

namespace drover {
namespace {

// A model whose activations are most of its memory.
Config wide_config(int64_t ranks) {
  Config config = testing::small_config();
  config.data.train = {"data"};
  config.train.sequence = 512;
  config.train.micro_batch = 4;
  config.train.global_batch = 4 * ranks;
  config.parallel.dp = ranks;
  config.run.dir = "run";
  return config;
}

int64_t bytes_of(const Config& config) { return worst_rank(config, Mesh(config.parallel)).memory.used(); }

// The configuration with settings as the message gives them.
Config with(const Config& config, const std::string& settings, int64_t ranks) {
  std::vector<std::string> overrides;
  for (size_t begin = 0; begin < settings.size();) {
    const size_t end = std::min(settings.find(' ', begin), settings.size());
    overrides.push_back(settings.substr(begin, end - begin));
    begin = end + 1;
  }
  LoadedConfig loaded = load_config_text(to_yaml(config), "test", overrides);
  throw_if_any(resolve_and_validate(loaded, ranks));
  return loaded.config;
}

TEST(SettingsThatFit, DoFitAndAreTheNearest) {
  const Config config = wide_config(4);
  const int64_t all = bytes_of(config), recomputed = bytes_of(with(config, "train.recompute=block", 4));
  ASSERT_LT(recomputed, all);
  int found = 0;
  for (const int64_t limit : {all - 1, recomputed, recomputed - 1, all / 4, all / 8}) {
    const std::vector<Fit> fits = settings_that_fit(config, 4, limit);
    for (const Fit& fit : fits) {
      EXPECT_LE(fit.bytes, limit) << fit.settings;
      EXPECT_EQ(bytes_of(with(config, fit.settings, 4)), fit.bytes) << fit.settings;
      ++found;
    }
    const bool first_is_recompute = !fits.empty() && fits[0].settings == "train.recompute=block";
    EXPECT_EQ(first_is_recompute, limit >= recomputed) << limit;
  }
  EXPECT_EQ(found, 8);
  EXPECT_EQ(settings_that_fit(config, 4, all - 1)[1].settings, "train.micro_batch=2") << "3 does not divide the batch";
}

TEST(SettingsThatFit, NoneDoIfNothingIsLeft) { EXPECT_TRUE(settings_that_fit(wide_config(2), 2, 1 << 10).empty()); }

TEST(AllowedMemory, IsOfTheWholeGpu) {
  Config config = wide_config(1);
  config.run.device = "cuda";
  const Mesh mesh(config.parallel);
  EXPECT_GT(bytes_outside_arenas(config, mesh), 0);
  const double needed = static_cast<double>(bytes_of(config) + bytes_outside_arenas(config, mesh)) / (1 << 30);
  config.run.device_memory = needed + 1e-3;
  EXPECT_NO_THROW(require_allowed_memory(config, mesh));
  config.run.device_memory = needed - 1e-3;
  try {
    require_allowed_memory(config, mesh);
    ADD_FAILURE() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::memory);
    EXPECT_NE(std::string(error.what()).find("\n  train.recompute=block  ("), std::string::npos) << error.what();
  }
  config.run.device = "cpu";
  EXPECT_NO_THROW(require_allowed_memory(config, mesh)) << "run.device_memory is of GPUs";
}

// As many as micro-batches in flight, however many a step has; none on the cpu.
TEST(OutsideMemory, GraphsAddToIt) {
  Config config = wide_config(2);
  config.run.device = "cuda";
  const auto outside = [&](bool graphs, int64_t pp, int64_t global_batch) {
    config.run.cuda_graphs = graphs;
    config.parallel = {.dp = 2 / pp, .pp = pp};
    config.train.global_batch = global_batch;
    return bytes_outside_arenas(config, Mesh(config.parallel));
  };
  for (const int64_t pp : {1, 2}) {
    const int64_t none = outside(false, pp, 64), some = outside(true, pp, 64);
    EXPECT_GT(some, none);
    EXPECT_EQ(outside(true, pp, 640), some);
  }
  config.run.device = "cpu";
  EXPECT_EQ(outside(true, 1, 64), 0);
}

}  // namespace
}  // namespace drover
