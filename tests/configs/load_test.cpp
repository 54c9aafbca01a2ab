// Strict loading: what is wrong with a text is said with its place, all of it at once.
#include "configs/load.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "configs/schema.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {
namespace {

const std::string kText =
    "model:\n"             // 1
    "  layers: 2\n"        // 2
    "  hidden: 64\n"       // 3
    "  heads: 4\n"         // 4
    "  ffn: 128\n"         // 5
    "  vocab: 258\n"       // 6
    "train:\n"             // 7
    "  steps: 10\n"        // 8
    "  global_batch: 8\n"  // 9
    "  sequence: 32\n"     // 10
    "optimizer:\n"         // 11
    "  lr: 0.001\n";       // 12

LoadedConfig load(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return load_config_text(text, "a.yaml", overrides);
}

std::string all(const std::vector<Violation>& violations) {
  std::string text;
  for (const Violation& violation : violations) text += violation.where + ": " + violation.message + "\n";
  return text;
}

// The only violation, as one line.
std::string only(const LoadedConfig& loaded) {
  EXPECT_EQ(loaded.violations.size(), 1u) << all(loaded.violations);
  return loaded.violations.empty() ? "" : loaded.violations.front().where + ": " + loaded.violations.front().message;
}

void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

TEST(Load, ReadsEveryValueAndItsPlace) {
  const LoadedConfig loaded = load(kText);
  EXPECT_EQ(all(loaded.violations), "");
  EXPECT_EQ(loaded.config.model.layers, 2);
  EXPECT_EQ(loaded.config.train.sequence, 32);
  EXPECT_EQ(loaded.config.optimizer.lr, 0.001);
  EXPECT_EQ(loaded.config.checkpoint.keep, 3) << "a default";
  EXPECT_EQ(loaded.places.at("train.steps"), "a.yaml:8");
  EXPECT_FALSE(loaded.places.contains("checkpoint.keep"));
}

TEST(Load, UnknownKeysNameTheNearest) {
  const std::string unknown = only(load(kText + "  warmup_step: 3\n"));
  expect_has(unknown, "a.yaml:13: unknown key optimizer.warmup_step");
  expect_has(unknown, "nearest is optimizer.warmup_steps");
  expect_has(only(load(kText + "chekpoint:\n  every: 3\n")), "a.yaml:13: unknown key chekpoint");
  expect_has(only(load(kText + "run:\n  recompute: block\n")), "nearest is train.recompute");
  expect_has(only(load(kText + "chekpoint:\n  every: 3\n")), "nearest is checkpoint");
  expect_has(only(load("modle:\n  layers: 2\n" + kText)), "nearest is model");
  for (const Field& field : schema()) EXPECT_EQ(near_keys(field.path), std::vector<std::string>{field.path});
}

TEST(Load, OnlyWhatIsNearIsOffered) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"train.setps", "the nearest is train.steps"},
      {"train.batch_size", "the nearest are train.global_batch, train.micro_batch"},
      {"train.learning_rate", "the nearest is optimizer.lr"},
      {"optimizer.beta", "the nearest are optimizer.beta1, optimizer.beta2"},
      {"log_every", "the nearest is run.log_every"},
      {"data.tokenizer", "keys of data: train, validation, document_mask, max_documents_per_sample"},
      {"model.rope_scaling.type", "keys of model.rope_scaling: factor, low_freq_factor, high_freq_factor, original_positions"},
      {"logging", "sections: model, parallel, train, optimizer, precision, data, checkpoint, run"},
      {"logging.file", "sections: model, parallel"},
      {"x" + std::string(10000, 'y'), "sections: model, parallel"},
  };
  for (const auto& [path, offer] : cases)
    expect_has(only(load(kText, {path + "=1"})), fmt::format("unknown key {}; {}", path, offer));
  expect_has(only(load(kText + "logging: 1\n")), "a.yaml:13: unknown key logging; sections: model, parallel");
}

// A key of the command line is a path; in the file, sections nest, and a path would win over what stands there or lose to it.
TEST(Load, PathsAreNoKeysOfTheFile) {
  const LoadedConfig twice = load(kText + "model.layers: 3\n");
  EXPECT_EQ(only(twice), "a.yaml:13: unknown key model.layers: nest it, model: {layers: ...}");
  EXPECT_EQ(twice.config.model.layers, 2);
  const LoadedConfig once = load(kText + "train.max_skipped: 99\n");
  EXPECT_EQ(only(once), "a.yaml:13: unknown key train.max_skipped: nest it, train: {max_skipped: ...}");
  EXPECT_EQ(once.config.train.max_skipped, 10);
  expect_has(only(load("model.rope_scaling.factor: 8\n" + kText)), "nest it, model: {rope_scaling: {factor: ...}}");
  expect_has(only(load("model.rope_scaling: {factor: 8}\n" + kText)), "a.yaml:1: unknown key model.rope_scaling: nest it");
  std::string inside = kText;
  inside.insert(inside.find("  layers"), "  rope_scaling.factor: 8\n");
  expect_has(only(load(inside)), "a.yaml:2: unknown key rope_scaling.factor: nest it, rope_scaling: {factor: ...}");
  std::string instead = kText;
  instead.replace(instead.find("  layers: 2\n"), 12, "");
  expect_has(only(load("model.layers: 2\n" + instead)), "unknown key model.layers: nest it");
}

TEST(Load, WhatIsNoWordIsNoKey) {
  expect_has(only(load("[model, train]: 1\n" + kText)), "a.yaml:1: a list stands where a key should; sections: model, parallel");
  expect_has(only(load("? {a: b}\n: 1\n" + kText)), "a map stands where a key should");
  expect_has(only(load("\"\": 1\n" + kText)), "a.yaml:1: nothing stands where a key should");
  expect_has(only(load(": 1\n" + kText)), "a.yaml:1: nothing stands where a key should");
  expect_has(only(load(kText + "  [a]: 1\n")), "a.yaml:13: a list stands where a key should; keys of optimizer: lr");
  expect_has(only(load(kText, {"=5"})), "--set =5: expected key.path=value");
}

// Or each of its keys would be called missing, and what is wrong inside would wait for the next try.
TEST(Load, MisspeltAndRepeatedSectionsAreRead) {
  std::string text = kText;
  text.replace(text.find("model:"), 6, "modle:").replace(text.find("heads: 4"), 8, "heads: many");
  const LoadedConfig misspelt = load(text);
  EXPECT_EQ(all(misspelt.violations),
            "a.yaml:1: unknown key modle; the nearest is model\n"
            "a.yaml:4: model.heads: expected integer, 1 to 65536, found \"many\"\n");
  EXPECT_EQ(misspelt.config.model.layers, 2);
  EXPECT_EQ(all(load(kText + "model:\n  ffn: x\n  foo: 1\n").violations),
            "a.yaml:14: model.ffn: expected integer, 1 to 268435456, found \"x\"\n"
            "a.yaml:15: unknown key model.foo; " +
                keys_of("model") +
                "\n"
                "a.yaml:13: model is there twice, first at a.yaml:1; keep one\n");
  expect_has(all(load("model: &a\n  rope_scalin: *a\n").violations), "the nearest is model.rope_scaling");
}

TEST(Load, DuplicateKeys) {
  expect_has(only(load(kText + "  lr: 0.5\n")), "a.yaml:13: optimizer.lr is there twice, first at a.yaml:12; keep one");
  expect_has(only(load(kText + "model:\n  layers: 3\n")), "a.yaml:13: model is there twice, first at a.yaml:1; keep one");
}

TEST(Load, WrongTypesAndRanges) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"train", "seed: 1.5", "integer, at least 0"},
      {"train", "seed: many", "found \"many\""},
      {"train", "seed: [1, 2]", "found a list"},
      {"train", "seed: -1", "-1 is out of range"},
      {"train", "seed: 99999999999999999999", "99999999999999999999 is out of range: integer, 0 to 9007199254740992"},
      {"train", "seed: -99999999999999999999", "is out of range"},
      {"train", "seed: 7x", "found \"7x\""},
      {"parallel", "zero: 2", "integer, 0 to 1"},
      {"parallel", "pp: 0", "0 is out of range"},
      {"optimizer", "clip: .nan", "expected number"},
      {"optimizer", "min_lr_ratio: 1.5", "number, 0 to 1"},
      {"optimizer", "beta1: 1", "1 is out of range: number, 0 to below 1"},
      {"optimizer", "beta2: 1", "1 is out of range: number, 0 to below 1"},
      {"optimizer", "schedule: linear", "cosine | wsd | constant"},
      {"data", "document_mask: yes", "true or false"},
      {"data", "max_documents_per_sample: 0", "1 to 4096"},
      {"run", "dir: {a: b}", "expected a directory"},
      {"data", "train: [{a: b}]", "expected a directory"},
      {"run", "threads:", "expected integer"},
      {"train", "seed: \"2\"", "expected integer, at least 0, found the string \"2\" (quoted, or tagged as one)"},
      {"train", "seed: '2'", "found the string \"2\""},
      {"train", "seed: !!str 2", "found the string \"2\""},
      {"parallel", "zero: \"1\"", "found the string \"1\""},
      {"optimizer", "clip: \"0.5\"", "expected number, at least 0, found the string \"0.5\""},
      {"data", "document_mask: 'true'", "expected true or false, found the string \"true\""},
      {"data", "document_mask: [true]", "expected true or false, found a list"},
      {"data", "train: \"\"", "an empty path; expected a directory"},
      {"data", "validation: [a, \"\"]", "an empty path; expected a directory"},
  };
  for (const auto& [section, line, expected] : cases) {
    std::string text = kText;
    const size_t at = text.find(section + ":\n");
    const int number = at == std::string::npos
                           ? 14
                           : static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n')) + 2;
    if (at == std::string::npos)
      text += fmt::format("{}:\n  {}\n", section, line);
    else
      text.insert(at + section.size() + 2, "  " + line + "\n");
    const std::string problem = only(load(text));
    expect_has(problem, "a.yaml:" + std::to_string(number) + ": " + section + "." + line.substr(0, line.find(':')));
    expect_has(problem, expected);
  }
}

TEST(Load, ADirectoryMayBeCalledAsANumberIs) {
  const LoadedConfig loaded = load(kText + "run: {dir: 5}\ndata: {train: [true, \"2\"]}\nprecision: {compute: \"f32\"}\n");
  EXPECT_EQ(all(loaded.violations), "");
  EXPECT_EQ(loaded.config.run.dir, "5");
  EXPECT_EQ(loaded.config.data.train, (std::vector<std::string>{"true", "2"}));
}

// Training computes in f32: what is something else there would be that without a word.
TEST(Load, NumbersAreThoseOfF32) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"optimizer.eps", "0", "0 is out of range: number, above 0, at most 1"},
      {"optimizer.eps", "1e-300", "number, above 0, at most 1, but in f32, which training computes in, it is 0"},
      {"optimizer.lr", "1e39", "number, above 0, but in f32, which training computes in, it is inf"},
      {"optimizer.lr", "1e-50", "it is 0"},
      {"optimizer.lr", "1e400", "1e400 is out of range"},
      {"optimizer.lr", "1e-400", "1e-400 is out of range"},
      {"optimizer.weight_decay", "1e300", "it is inf"},
      {"optimizer.clip", "1e39", "it is inf"},
      {"optimizer.clip", "1e-50", "it is 0"},
      {"optimizer.beta1", "0.99999999", "number, 0 to below 1, but in f32, which training computes in, it is 1"},
      {"optimizer.beta2", "0.99999999", "it is 1"},
      {"model.norm_eps", "0", "number, above 0, at most 1"},
      {"model.norm_eps", "1e-300", "it is 0"},
      {"model.rope_theta", "1e39", "it is inf"},
      {"model.rope_scaling.factor", "1e39", "it is inf"},
      {"model.rope_scaling.low_freq_factor", "1e39", "it is inf"},
      {"model.rope_scaling.high_freq_factor", "1e39", "it is inf"},
  };
  for (const auto& [key, value, says] : cases) expect_has(only(load(kText, {fmt::format("{}={}", key, value)})), says);
  for (const char* fine : {"optimizer.eps=1e-38", "optimizer.lr=1e38", "optimizer.clip=0", "optimizer.beta2=0.9999999"})
    EXPECT_EQ(all(load(kText, {fine}).violations), "") << fine;
}

TEST(Load, SectionsAreMaps) {
  expect_has(only(load(kText + "run: fast\n")), "a.yaml:13: run is a section");
  expect_has(all(load("- 1\n- 2\n").violations), "expected sections");
  expect_has(all(load("model: [\n").violations), "not YAML");
  expect_has(all(load(",").violations), "a.yaml:1: not YAML: no value begins with this character");
  EXPECT_EQ(all(load(kText + "run:\n").violations), "") << "an empty section is none";
}

// yaml-cpp's Load would read the first and pass over the rest in silence.
TEST(Load, OneDocument) {
  expect_has(only(load(kText + "---\nmodel:\n  layers: 9\n")), "a.yaml:14: a second YAML document");
  EXPECT_EQ(all(load("---\n" + kText).violations), "");
}

TEST(Load, MissingKeysPointToTheirSection) {
  std::string text = kText;
  text.erase(text.find("  hidden"), text.find("  heads") - text.find("  hidden"));
  expect_has(only(load(text)), "a.yaml:1: model.hidden is missing");
}

TEST(Load, MissingKeysAreAllNamed) {
  const std::string text = all(load("").violations);
  int required = 0;
  for (const Field& field : schema()) {
    if (!field.required) continue;
    ++required;
    expect_has(text, field.path + " is missing");
  }
  EXPECT_EQ(required, 9);
}

TEST(Load, SaysEverythingAtOnce) {
  const LoadedConfig loaded =
      load("model:\n  layer: 2\n  hidden: wide\ntrain:\n  steps: -1\n  steps: 2\n", {"train.sequense=3", "optimizer.lr=fast"});
  const std::string text = all(loaded.violations);
  for (const char* part :
       {"a.yaml:2: unknown key model.layer", "a.yaml:3: model.hidden: expected", "a.yaml:5: train.steps: -1 is out",
        "a.yaml:6: train.steps is there twice", "--set train.sequense=3: unknown key",
        "--set optimizer.lr=fast: optimizer.lr: expected", "a.yaml:1: model.heads is missing"})
    expect_has(text, part);
}

TEST(Load, OverridesComeLast) {
  const LoadedConfig loaded =
      load(kText, {"train.steps=20", "train.steps=30", "data.train=[a, \"b c\"]", "data.validation=d", "train.recompute=block",
                   "model.tied_embeddings=true", "optimizer.lr=1e-4", "run.dir=runs/x=y"});
  EXPECT_EQ(all(loaded.violations), "");
  EXPECT_EQ(loaded.config.train.steps, 30);
  EXPECT_EQ(loaded.config.data.train, (std::vector<std::string>{"a", "b c"}));
  EXPECT_EQ(loaded.config.data.validation, std::vector<std::string>{"d"});
  EXPECT_EQ(loaded.config.train.recompute, Recompute::block);
  EXPECT_TRUE(loaded.config.model.tied_embeddings);
  EXPECT_EQ(loaded.config.optimizer.lr, 1e-4);
  EXPECT_EQ(loaded.config.run.dir, "runs/x=y");
  EXPECT_EQ(loaded.places.at("train.steps"), "--set train.steps=30");
}

TEST(Load, OverridesAreCheckedLikeTheFile) {
  expect_has(only(load(kText, {"train.step=1"})), "--set train.step=1: unknown key train.step; the nearest is train.steps");
  expect_has(only(load(kText, {"train.steps"})), "expected key.path=value");
  expect_has(only(load(kText, {"train.steps=x"})), "found \"x\"");
  expect_has(only(load(kText, {"train.steps={a: b}"})), "expected integer");
  expect_has(only(load(kText, {"train.steps=\"2\""})), "found the string \"2\"");
  expect_has(only(load(kText, {"data.train="})), "--set data.train=: data.train: an empty path");
  expect_has(only(load(kText, {"data.validation=[\"\"]"})), "data.validation: an empty path");
  expect_has(only(load(kText, {"train=1"})), "--set train=1: train is a section");
  expect_has(only(load(kText, {"data.train=[a, [b]]"})), "data.train: expected a directory, or a list of them");
  expect_has(only(load(kText, {"optimizer.lr=0"})), "--set optimizer.lr=0: optimizer.lr: 0 is out of range: number, above 0");
}

TEST(Load, WritesBackWhatItRead) {
  LoadedConfig loaded =
      load(kText, {"data.train=[a, b]", "optimizer.lr=0.1", "optimizer.eps=1.2345678901234567e-9", "model.rope_scaling.factor=8",
                   "checkpoint.gradients=true", "optimizer.schedule=wsd", "precision.compute=f32", "model.norm_eps=1e-6"});
  loaded.config.run.dir = "a \"quoted\" \\ path: # no\tcomment\nsecond line\x01";
  const std::string yaml = to_yaml(loaded.config);
  const LoadedConfig again = load(yaml);
  EXPECT_EQ(all(again.violations), "");
  EXPECT_EQ(to_yaml(again.config), yaml);
  EXPECT_TRUE(diff(loaded.config, again.config).empty());
  EXPECT_EQ(again.config.optimizer.eps, 1.2345678901234567e-9);
  EXPECT_EQ(again.config.run.dir, loaded.config.run.dir);
  for (const Field& field : schema()) EXPECT_TRUE(again.places.contains(field.path)) << field.path;
}

// Every key changes something, alone, and writes back: a field wired to a wrong member shows here.
TEST(Load, EveryKeyIsItsOwn) {
  const Config before = load(kText).config;
  for (const Field& field : schema()) {
    if (field.nested) continue;  // data_test.cpp
    std::string value = field.type.starts_with("true") ? (field.fallback == "true" ? "false" : "true") : "1";
    if (field.type.find(" | ") != std::string::npos) value = field.type.substr(field.type.rfind(' ') + 1);
    if (field.path == "precision.compute") value = "f32";
    if (field.path.starts_with("optimizer.beta")) value = "0.5";
    if (field.path == "model.vocab") value = "300";
    if (field.write(before) == value)
      value = field.path == "parallel.zero" || field.path == "optimizer.clip" ? "0" : field.path == "model.layers" ? "3" : "2";
    if (field.path == "parallel.cp" || field.path == "parallel.tp" || field.path == "parallel.pp") value = "2";
    const LoadedConfig changed = load(kText, {field.path + "=" + value});
    EXPECT_EQ(all(changed.violations), "") << field.path;
    const auto differences = diff(before, changed.config);
    ASSERT_EQ(differences.size(), 1u) << field.path << "=" << value;
    EXPECT_EQ(differences[0].key, field.path);
    EXPECT_EQ(differences[0].before, field.write(before));
  }
}

TEST(Load, FilesThatAreNotThere) {
  try {
    load_config("/nowhere/a.yaml", {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::config);
    expect_has(error.what(), "/nowhere/a.yaml");
  }
}

TEST(Load, ReferencePageIsTheGeneratedOne) {
  EXPECT_EQ(read_text(std::string(DROVER_SOURCE_DIR) + "/docs/config.md"), config_reference())
      << "make it again: drover docs config > docs/config.md";
}

}  // namespace
}  // namespace drover
