// data.sources, data.phases and data.skip: read, written back, refused with their places.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "configs/schema.h"
#include "configs/validate.h"

namespace drover {
namespace {

const std::string kHead =
    "model: {layers: 2, hidden: 64, heads: 4, ffn: 128, vocab: 258}\n"  // 1
    "train: {steps: 10, global_batch: 8, sequence: 32}\n"               // 2
    "optimizer: {lr: 0.001}\n"                                          // 3
    "data:\n";                                                          // 4
const std::string kData =
    "  sources:\n"                                                                   // 5
    "    web: {path: [a, b], weight: 0.7, max_epochs: 4}\n"                          // 6
    "    code:\n"                                                                    // 7
    "      path: c\n"                                                                // 8
    "      weight: 0.3\n"                                                            // 9
    "  phases:\n"                                                                    // 10
    "    - {until_tokens: 1e9, weights: {web: 1}, sequence: 16}\n"                   // 11
    "    - until_tokens: 2000000000\n"                                               // 12
    "    - weights: {code: 0.25, web: 0.75}\n"                                       // 13
    "  skip: [{from_sample: 10, to_sample: 20}, {from_sample: 5, to_sample: 6}]\n";  // 14

LoadedConfig load(const std::string& data, const std::vector<std::string>& overrides = {}) {
  return load_config_text(kHead + data, "a.yaml", overrides);
}

std::string problems(const std::string& data, const std::vector<std::string>& overrides = {}) {
  LoadedConfig loaded = load(data, overrides);
  std::string all;
  for (const Violation& violation : resolve_and_validate(loaded, 1)) all += violation.where + ": " + violation.message + "\n";
  return all;
}

TEST(DataKeys, ReadAndWriteBack) {
  LoadedConfig loaded = load(kData);
  ASSERT_TRUE(resolve_and_validate(loaded, 1).empty()) << problems(kData);
  const DataConfig& data = loaded.config.data;
  EXPECT_EQ(data.sources.at("web").path, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(data.sources.at("web").weight, 0.7);
  EXPECT_EQ(data.sources.at("web").max_epochs, 4);
  EXPECT_EQ(data.sources.at("code").path, std::vector<std::string>{"c"});
  EXPECT_EQ(data.sources.at("code").max_epochs, 0);
  ASSERT_EQ(data.phases.size(), 3u);
  EXPECT_EQ(data.phases[0].until_tokens, 1000000000);
  EXPECT_EQ(data.phases[0].sequence, 16);
  EXPECT_EQ(data.phases[0].weights, (std::map<std::string, double>{{"web", 1}}));
  EXPECT_EQ(data.phases[1].until_tokens, 2000000000);
  EXPECT_TRUE(data.phases[1].weights.empty());
  EXPECT_EQ(data.phases[2].weights, (std::map<std::string, double>{{"code", 0.25}, {"web", 0.75}}));
  ASSERT_EQ(data.skip.size(), 2u);
  EXPECT_EQ(data.skip[1].from_sample, 5);
  EXPECT_EQ(loaded.places.at("data.sources.code.weight"), "a.yaml:9");
  EXPECT_EQ(loaded.places.at("data.phases.2.until_tokens"), "a.yaml:12");
  const LoadedConfig again = load_config_text(to_yaml(loaded.config), "again.yaml", {});
  EXPECT_TRUE(again.violations.empty()) << again.violations.front().message;
  EXPECT_EQ(to_yaml(again.config), to_yaml(loaded.config));
  EXPECT_TRUE(diff(loaded.config, again.config).empty());
}

TEST(DataKeys, PhasesAreFilledIn) {
  const Config config = load(kData).config;
  const std::vector<PhaseConfig> phases = phases_of(config);
  EXPECT_EQ(phases[0].sequence, 16);
  EXPECT_EQ(phases[1].sequence, 32);
  EXPECT_EQ(phases[1].weights, (std::map<std::string, double>{{"code", 0.3}, {"web", 0.7}}));
  EXPECT_EQ(longest_sequence(config), 32);
  const Config alone = load("  train: d\n").config;
  EXPECT_EQ(sources_of(alone.data).at("train").path, std::vector<std::string>{"d"});
  EXPECT_EQ(phases_of(alone).size(), 1u);
}

TEST(DataKeys, OverridesReachInside) {
  const Config config = load(kData, {"data.sources.web.weight=0.5", "data.phases.1.sequence=8", "data.phases.3.weights.web=2",
                                     "data.sources.wiki={path: w}", "data.skip=[]"})
                            .config;
  EXPECT_EQ(config.data.sources.at("web").weight, 0.5);
  EXPECT_EQ(config.data.phases[0].sequence, 8);
  EXPECT_EQ(config.data.phases[2].weights.at("web"), 2);
  EXPECT_TRUE(config.data.skip.empty());
  EXPECT_EQ(config.data.sources.size(), 2u) << "an entry has no value of its own: its keys are set";
  const Config other = load(kData, {"data.sources={x: {path: [y]}}", "data.sources.x.weight=3", "data.sources.z.path=q"}).config;
  EXPECT_EQ(other.data.sources.size(), 2u);
  EXPECT_EQ(other.data.sources.at("x").weight, 3);
  EXPECT_EQ(other.data.sources.at("z").path, std::vector<std::string>{"q"});
}

struct Broken {
  const char* name;
  std::string data;
  std::vector<std::string> overrides, says;
  size_t violations = 1;
};
void PrintTo(const Broken& broken, std::ostream* out) { *out << broken.name; }

class DataRule : public testing::TestWithParam<Broken> {};

TEST_P(DataRule, IsNamedWithItsPlace) {
  const std::string all = problems(GetParam().data, GetParam().overrides);
  EXPECT_EQ(static_cast<size_t>(std::count(all.begin(), all.end(), '\n')), GetParam().violations) << all;
  for (const std::string& part : GetParam().says) EXPECT_NE(all.find(part), std::string::npos) << all << "lacks: " << part;
}

const std::string kSources = "  sources: {web: {path: a, weight: 0.7}, code: {path: c, weight: 0.3}}\n";

INSTANTIATE_TEST_SUITE_P(
    Each, DataRule,
    testing::Values(
        Broken{"Both", "  train: d\n" + kSources, {}, {"a.yaml:5: data.train and data.sources say both"}},
        Broken{"NoPath", "  sources:\n    web: {weight: 1}\n", {}, {"a.yaml:6: data.sources.web.path is missing"}},
        Broken{"UnknownKey",
               "  sources:\n    web: {path: a, wieght: 1}\n",
               {},
               {"a.yaml:6: unknown key data.sources.web.wieght; keys of a source: path, weight, max_epochs"}},
        Broken{"UnknownKeyOfPhase",
               kSources + "  phases:\n    - {until: 5}\n",
               {},
               {"a.yaml:7: unknown key data.phases.1.until; keys of a phase: until_tokens, sequence, weights"}},
        Broken{"Twice",
               "  sources:\n    web: {path: a}\n    web: {path: b}\n",
               {},
               {"a.yaml:7: data.sources.web is there twice, first at a.yaml:6; keep one"}},
        Broken{
            "KeyTwice", "  sources: {web: {path: a, path: b}}\n", {}, {"data.sources.web.path is there twice, first at a.yaml:5"}},
        Broken{"Name", "  sources: {3web: {path: a}}\n", {}, {"\"3web\" is no name: up to 32 letters"}},
        Broken{"NoMap", "  sources: [web]\n", {}, {"a.yaml:5: data.sources: expected a map"}},
        Broken{"NoList", kSources + "  phases: {sequence: 3}\n", {}, {"a.yaml:6: data.phases: expected a list"}},
        Broken{"NoKeys", "  sources: {web: a}\n", {}, {"data.sources.web: expected its keys", "keys of a source: path"}},
        Broken{"Negative",
               "  sources: {web: {path: a, weight: -1}}\n",
               {},
               {"data.sources.web.weight: -1 is out of range: number, at least 0"}},
        Broken{"Everything",
               "  sources: {web: {path: a, weight: x}, code: {path: b, max_epochs: -1, foo: 1}}\n  phases: [{sequence: y}]\n",
               {},
               {"data.sources.web.weight: expected", "max_epochs: -1", "data.sources.code.foo", "data.phases.1.sequence: expected"},
               4},
        Broken{"NoWeight", "  sources: {web: {path: a, weight: 0}}\n", {}, {"data.sources: all weights are 0"}},
        Broken{"Stranger",
               kSources + "  phases:\n    - weights: {wiki: 1, web: 1}\n",
               {},
               {"a.yaml:7: data.phases.1.weights: no source is called wiki; there are code, web"}},
        Broken{"TinyShare",
               "  sources: {web: {path: a, weight: 1e-9}, code: {path: b}}\n",
               {},
               {"web has a share of 1.0e-09; at least 1e-06"}},
        Broken{"NoEnd",
               kSources + "  phases: [{sequence: 16}, {sequence: 32}]\n",
               {},
               {"data.phases.1.until_tokens is missing: only the last phase has no end"}},
        Broken{"EndsBackwards",
               kSources + "  phases: [{until_tokens: 500}, {until_tokens: 400}, {}]\n",
               {},
               {"data.phases.2.until_tokens 400 must be above that of the phase before, 500"}},
        Broken{"LastEnds",
               kSources + "  phases: [{until_tokens: 500}]\n",
               {},
               {"data.phases.1.until_tokens 500: the last phase goes on"}},
        Broken{
            "NotInteger", kSources + "  phases: [{until_tokens: 1.5}, {}]\n", {}, {"data.phases.1.until_tokens: expected integer"}},
        Broken{"NotDividing",
               kSources + "  phases: [{until_tokens: 500, sequence: 12}, {}]\n",
               {},
               {"data.phases.1.sequence 12 does not divide 32, the longest sequence in which code is read", "nearest: 8 or 16"}},
        Broken{"FarFromIt",
               kSources + "  phases: [{until_tokens: 500, sequence: 1}, {sequence: 1024}]\n",
               {},
               {"data.phases.1.sequence 1: its sources are drawn in the least common multiple", "more than 256 samples"}},
        Broken{"TensorParallel",
               kSources + "  phases: [{until_tokens: 500, sequence: 1}, {}]\n",
               {"parallel.tp=2", "parallel.dp=0"},
               {"parallel.tp 2 does not divide train.micro_batch * data.phases.1.sequence = 1"},
               2},
        Broken{"SkipBackwards",
               kSources + "  skip:\n    - {from_sample: 9, to_sample: 9}\n",
               {},
               {"a.yaml:7: data.skip 1: from_sample 9 must be below to_sample 9"}},
        Broken{"NoSuchPhase", kSources, {"data.phases.1.sequence=3"}, {"--set data.phases.1.sequence=3: unknown key"}},
        Broken{"NoSuchKey", kSources, {"data.sources.web.wait=3"}, {"--set data.sources.web.wait=3: unknown key"}},
        Broken{"InAnOverride",
               kSources,
               {"data.sources.web.weight=x"},
               {"--set data.sources.web.weight=x: data.sources.web.weight: expected number"}}),
    [](const auto& broken) { return std::string(broken.param.name); });

// A YAML alias may hold itself.
TEST(DataKeys, AliasesEnd) {
  EXPECT_NE(problems("  sources: &a {web: *a}\n"), "");
  EXPECT_NE(problems(kSources + "  phases: &p [{weights: *p}, *p]\n"), "");
}

}  // namespace
}  // namespace drover
