// The one table of all keys: loading, `--set`, writing back, differences and docs/config.md all read it.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "configs/config.h"

namespace drover {

struct Field {
  std::string path;      // "train.steps"
  std::string type;      // "integer, at least 1"
  std::string fallback;  // default as text, "" when required
  bool required = false;
  std::string doc;
  // Parses YAML scalars (one, or the items of a list) into the config; returns what is wrong, or "".
  std::function<std::string(Config&, const std::vector<std::string>&, bool is_list)> read;
  std::function<std::string(const Config&)> write;  // as YAML, on one line
};

const std::vector<Field>& schema();
const Field* find_field(const std::string& path);
bool is_section(const std::string& path);          // "model", "model.rope_scaling"
std::string nearest_key(const std::string& path);  // among all keys and sections, by edit distance

}  // namespace drover
