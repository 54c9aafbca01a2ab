// The one table of all keys: loading, `--set`, writing back, differences and docs/config.md all read it.
#pragma once
#include <functional>
#include <optional>
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

struct Field;

// What a key holds that is a map of entries by name, or a list of them by number from 1 on, each with keys of its own.
struct Nested {
  bool numbered = false;
  std::string entry;                                         // "source": what one of them is called
  std::function<size_t(const Config&)> count;                // of entries
  std::function<void(Config&)> clear;                        // of all entries
  std::function<void(Config&, const std::string& key)> add;  // unless it is there
  std::function<std::vector<Field>(const std::string& key)>
      keys;  // of one entry; a single one with the entry's own path: a plain value
};

struct Field {
  std::string path;      // "train.steps"
  std::string type;      // "integer, at least 1"
  std::string fallback;  // default as text, "" when required
  bool required = false;
  std::string doc;
  std::function<std::string(Config&, const Value&)> read;  // into the config; returns what is wrong, or ""
  std::function<std::string(const Config&)> write;         // as YAML, on one line
  std::optional<Nested> nested;                            // instead of `read`
};

const std::vector<Field>& schema();
const Field* find_field(const std::string& path);
std::optional<Field> find_nested(const Config& config,
                                 const std::string& path);  // "data.sources.web.weight", "data.phases.1.sequence"
bool is_entry_name(const std::string& text);                // up to 32 letters, digits, _ and -, a letter first
bool is_section(const std::string& path);                   // "model", "model.rope_scaling"

// The keys and sections that an unknown key may mean, all equally likely: those spelt alike, else those that share a word with it, else
// those described by its words; none when nothing is near.
std::vector<std::string> near_keys(const std::string& path);
std::string keys_of(std::string section);  // "keys of data: train, validation, document_mask"; of the nearest section above it
std::string alternatives(const std::string& path);  // the near keys, or else those of its section, in words

}  // namespace drover
