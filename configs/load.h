// Strict YAML: unknown or duplicate keys, wrong types, missing required keys are errors with file:line and the nearest valid key.
#pragma once
#include <set>
#include <span>
#include <string>
#include <vector>

#include "configs/config.h"

namespace drover {

struct Violation {
  std::string where;    // "configs/my.yaml:12" or "--set train.steps=x"
  std::string message;  // what, why, and the valid choices
};

struct LoadedConfig {
  Config config;
  std::vector<Violation> violations;          // everything wrong with the text; empty when it parsed
  std::map<std::string, std::string> places;  // "train.steps" -> "file:line", sections too, for messages of validate()
  std::set<std::string> unread;               // keys that are missing or could not be read: no rule can be judged over them
  std::string name;                           // of the file
};

// `overrides` are "key.path=value", applied last, checked like the file. Throws Error(config) only when the file cannot be read.
LoadedConfig load_config(const std::string& path, std::span<const std::string> overrides);
LoadedConfig load_config_text(const std::string& text, const std::string& name, std::span<const std::string> overrides);

// Where a message about a key points: its line, else its section's, else the file.
std::string place_of(const LoadedConfig& loaded, const std::string& key);

// The whole configuration as YAML, every key present; load_config_text of it gives the same structs.
std::string to_yaml(const Config& config);

// "key: old -> new", one line a difference.
struct ConfigDifference {
  std::string key, before, after;
};
std::vector<ConfigDifference> diff(const Config& before, const Config& after);

// docs/config.md, generated from the schema.
std::string config_reference();

}  // namespace drover
