// The one table of all keys: loading, `--set`, writing back, differences and docs/config.md all read it.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "configs/config.h"

namespace drover {

// What a key holds: a scalar, or a list of them.
struct Value {
  std::vector<std::string> items;
  bool is_list = false;
  bool is_string = false;  // quoted, or tagged as a string: neither number nor boolean
};

struct Field {
  std::string path;      // "train.steps"
  std::string type;      // "integer, at least 1"
  std::string fallback;  // default as text, "" when required
  bool required = false;
  std::string doc;
  std::function<std::string(Config&, const Value&)> read;  // into the config; returns what is wrong, or ""
  std::function<std::string(const Config&)> write;         // as YAML, on one line
};

const std::vector<Field>& schema();
const Field* find_field(const std::string& path);
bool is_section(const std::string& path);  // "model", "model.rope_scaling"

// The keys and sections that an unknown key may mean, all equally likely: those spelt alike, else those that share a word with it, else
// those described by its words; none when nothing is near.
std::vector<std::string> near_keys(const std::string& path);
std::string keys_of(std::string section);  // "keys of data: train, validation, document_mask"; of the nearest section above it
std::string alternatives(const std::string& path);  // the near keys, or else those of its section, in words

}  // namespace drover
