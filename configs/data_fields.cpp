// data.sources, data.phases, data.skip and data.loss_weights: keys that hold entries with keys of their own.
#include <charconv>

#include "configs/fields.h"

namespace drover {
namespace {

constexpr int64_t kLongest = 1 << 30;

// Of "1" the first, and of "N", as the documents call it, too.
size_t index_of(const std::string& number) {
  size_t value = 1;
  std::from_chars(number.data(), number.data() + number.size(), value);
  return value - 1;
}

template <class Entry> Entry& at(std::vector<Entry>& entries, const std::string& number) {
  const size_t index = index_of(number);
  if (entries.size() <= index) entries.resize(index + 1);
  return entries[index];
}

// Tokens are many: 1e9 is an integer too.
Field with_exponent(Field field) {
  field.type = "integer such as 2e9, at least 0";
  field.read = [read = field.read](Config& config, const Value& given) {
    Value plain = given;
    double value = 0;
    const std::string text = given.items.empty() ? "" : given.items.front();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!given.is_list && !given.is_string && error == std::errc() && end == text.data() + text.size() &&
        text.find_first_of("eE.") != std::string::npos && value == std::floor(value) && std::abs(value) < 1e18)
      plain.items = {std::to_string(static_cast<int64_t>(value))};
    return read(config, plain);
  };
  return field;
}

std::vector<Field> source_keys(const std::string& name) {
  const std::string path = "data.sources." + name;
  const auto source = [name](Config& config) -> SourceConfig& { return config.data.sources[name]; };
  Field directories = paths(
      path + ".path", [=](Config & c) -> auto& { return source(c).path; }, "what `drover prepare` made");
  directories.required = true;
  return {
      std::move(directories),
      number(
          path + ".weight", kFromZero, [=](Config & c) -> auto& { return source(c).weight; }, false,
          "of its tokens among those of all sources"),
      number(
          path + ".max_epochs", kFromZero, [=](Config & c) -> auto& { return source(c).max_epochs; }, false,
          "a run that would read it more often is refused; 0: any number"),
  };
}

std::string flow(const Config& config, const std::vector<Field>& keys) {
  std::string text;
  for (const Field& key : keys)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", key.path.substr(key.path.rfind('.') + 1), key.write(config));
  return "{" + text + "}";
}

// A map of numbers from 0 on; `left_out`: what one that is not there means.
template <class Weights> Field weights_field(const std::string& path, const std::string& key, const std::string& left_out,
                                             const std::string& doc, Weights weights) {
  Field field{.path = path, .type = "a map, " + key + ": number", .fallback = "{}", .doc = doc};
  field.write = [=](const Config& config) {
    std::vector<std::string> parts;
    for (const auto& [name, weight] : weights(config)) parts.push_back(fmt::format("{}: {}", quoted(name), weight));
    return fmt::format("{{{}}}", fmt::join(parts, ", "));
  };
  field.nested = Nested{.entry = "weight",
                        .count = [=](const Config& c) { return weights(c).size(); },
                        .clear = [=](Config& c) { weights(c).clear(); },
                        .add = [](Config&, const std::string&) {},
                        .keys =
                            [=, path = field.path](const std::string& name) {
                              Field weight = number(
                                  path + "." + name, kFromZero, [=](Config & c) -> auto& { return weights(c)[name]; }, false, "");
                              weight.fallback = left_out;
                              return std::vector<Field>{weight};
                            }};
  return field;
}

std::vector<Field> phase_keys(const std::string& phase) {
  const std::string path = "data.phases." + phase;
  return {
      with_exponent(integer(
          path + ".until_tokens", 0, kMost, [=](Config & c) -> auto& { return at(c.data.phases, phase).until_tokens; }, false,
          "tokens of the run at which the phase ends, rounded up to whole blocks; left out in the last, which has no end")),
      integer(
          path + ".sequence", 0, kLongest, [=](Config & c) -> auto& { return at(c.data.phases, phase).sequence; }, false,
          "tokens a sequence; 0: train.sequence"),
      weights_field(
          path + ".weights", "SOURCE", "0", "of the sources' tokens; one that is left out has 0; empty: the sources' own weights",
          [=](const Config& c) -> auto& { return at(const_cast<Config&>(c).data.phases, phase).weights; }),
  };
}

std::vector<Field> skip_keys(const std::string& range) {
  const std::string path = "data.skip." + range;
  return {
      integer(
          path + ".from_sample", 0, kMost, [=](Config & c) -> auto& { return at(c.data.skip, range).from_sample; }, false,
          "of the run, from 0 on: the first that is not trained on"),
      integer(
          path + ".to_sample", 0, kMost, [=](Config & c) -> auto& { return at(c.data.skip, range).to_sample; }, false,
          "the first after them"),
  };
}

// A list of entries.
template <class Entry> Field list_field(Field field, const std::string& entry, std::vector<Entry> DataConfig::*member,
                                        std::vector<Field> (*keys)(const std::string&)) {
  field.fallback = "[]";
  field.write = [=](const Config& config) {
    std::vector<std::string> parts;
    for (size_t i = 1; i <= (config.data.*member).size(); ++i) parts.push_back(flow(config, keys(std::to_string(i))));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  };
  field.nested = Nested{.numbered = true,
                        .entry = entry,
                        .count = [=](const Config& config) { return (config.data.*member).size(); },
                        .clear = [=](Config& config) { (config.data.*member).clear(); },
                        .add = [=](Config& config, const std::string& key) { at(config.data.*member, key); },
                        .keys = keys};
  return field;
}

}  // namespace

Field sources_field() {
  Field field{.path = "data.sources",
              .type = "a map, NAME: its keys",
              .fallback = "{}",
              .doc = "what is mixed, instead of data.train; the order of a source's samples follows from train.seed and its name"};
  field.write = [](const Config& config) {
    std::vector<std::string> parts;
    for (const auto& [name, source] : config.data.sources) parts.push_back(quoted(name) + ": " + flow(config, source_keys(name)));
    return fmt::format("{{{}}}", fmt::join(parts, ", "));
  };
  field.nested = Nested{.entry = "source",
                        .count = [](const Config& config) { return config.data.sources.size(); },
                        .clear = [](Config& config) { config.data.sources.clear(); },
                        .add = [](Config& config, const std::string& name) { config.data.sources[name]; },
                        .keys = source_keys};
  return field;
}

Field phases_field() {
  return list_field({.path = "data.phases",
                     .type = "a list of phases",
                     .doc = "stretches of the run with weights and sequences of their own; none: one phase"},
                    "phase", &DataConfig::phases, phase_keys);
}

Field skip_field() {
  return list_field(
      {.path = "data.skip",
       .type = "a list of ranges",
       .doc = "samples of the run that are never trained on, such as those before a spike; it goes on with those after them"},
      "range", &DataConfig::skip, skip_keys);
}

Field loss_weights_field() {
  return weights_field(
      "data.loss_weights", "RANGE", "1",
      "of targets that are codes of another modality, by the name of their range in the tokenizer's file; 1 for all others",
      [](const Config& c) -> auto& { return const_cast<Config&>(c).data.loss_weights; });
}

// It is a part of paths and of messages.
bool is_entry_name(const std::string& text) {
  constexpr size_t kMostLetters = 32;
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto belongs = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= kMostLetters && is_letter(text.front()) && std::all_of(text.begin(), text.end(), belongs);
}

std::optional<Field> key_of_entry(const Field& field, const Config& config, const std::string& path) {
  const size_t begin = field.path.size() + 1, end = std::min(path.find('.', begin), path.size());
  const std::string key = path.substr(begin, end - begin);
  if (!field.nested->numbered && !is_entry_name(key)) return std::nullopt;
  if (field.nested->numbered) {
    const bool digits =
        !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos && key.front() != '0';
    if (!digits || index_of(key) >= field.nested->count(config)) return std::nullopt;
  }
  for (const Field& of_entry : field.nested->keys(key)) {
    if (of_entry.path == path) return of_entry;
    if (of_entry.nested && path.starts_with(of_entry.path + ".")) return key_of_entry(of_entry, config, path);
  }
  return std::nullopt;
}

}  // namespace drover
