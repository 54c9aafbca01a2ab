#include "configs/load.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <set>

#include "configs/schema.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {
namespace {

// Walks the YAML tree beside the schema; yaml-cpp itself would take the first of two equal keys in silence.
class Loader {
 public:
  explicit Loader(LoadedConfig& loaded) : loaded_(loaded) {}

  void load(const std::vector<YAML::Node>& documents) {
    if (documents.size() > 1) violate(documents[1].Mark(), "a second YAML document: one file describes one run");
    if (documents.empty() || documents[0].IsNull()) return;
    if (documents[0].IsMap()) return walk(documents[0], "");
    violate(documents[0].Mark(), "expected sections such as `model:` and `train:`");
    forget("");
  }
  void require_all() {
    for (const Field& field : schema()) {
      if (!field.required || loaded_.places.contains(field.path) || loaded_.unread.contains(field.path)) continue;
      loaded_.unread.insert(field.path);
      loaded_.violations.push_back(
          {place_of(loaded_, field.path), fmt::format("{} is missing ({}): {}", field.path, field.type, field.doc)});
    }
  }

 private:
  void violate(const YAML::Mark& mark, const std::string& message) { loaded_.violations.push_back({place(mark), message}); }
  std::string place(const YAML::Mark& mark) const {
    return mark.is_null() ? loaded_.name : fmt::format("{}:{}", loaded_.name, mark.line + 1);
  }
  void forget(const std::string& prefix) {
    for (const Field& field : schema())
      if (field.path.starts_with(prefix)) loaded_.unread.insert(field.path);
  }

  void walk(const YAML::Node& map, const std::string& prefix) {
    std::set<std::string> seen;
    for (const auto& entry : map) {
      const YAML::Mark mark = entry.first.Mark();
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      const std::string path = prefix.empty() ? key : prefix + "." + key;
      if (!seen.insert(key).second) {
        violate(mark, fmt::format("{} is there twice; keep one", path));
        forget(path);
      } else if (const Field* field = find_field(path)) {
        read(*field, entry.second, mark);
      } else if (is_section(path)) {
        loaded_.places[path] = place(mark);
        if (entry.second.IsMap()) {
          walk(entry.second, path);
        } else if (!entry.second.IsNull()) {
          violate(mark, fmt::format("{} is a section: its keys stand indented below it", path));
          forget(path);
        }
      } else {
        violate(mark, fmt::format("unknown key {}; the nearest is {}", path, nearest_key(path)));
      }
    }
  }

  void read(const Field& field, const YAML::Node& value, const YAML::Mark& mark) {
    std::vector<std::string> items;
    if (value.IsScalar()) items.push_back(value.Scalar());
    bool plain = value.IsScalar() || value.IsSequence();
    if (value.IsSequence())
      for (const YAML::Node& item : value) {
        plain = plain && item.IsScalar();
        if (item.IsScalar()) items.push_back(item.Scalar());
      }
    loaded_.places[field.path] = place(mark);
    const std::string wrong = plain ? field.read(loaded_.config, items, value.IsSequence()) : "expected " + field.type;
    if (wrong.empty()) return;
    violate(mark, fmt::format("{}: {}", field.path, wrong));
    forget(field.path);
  }

  LoadedConfig& loaded_;
};

void apply_override(LoadedConfig& loaded, const std::string& text) {
  const std::string where = "--set " + text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return loaded.violations.push_back({where, "expected key.path=value, such as train.steps=100"});
  const std::string path = text.substr(0, equals), value = text.substr(equals + 1);
  const Field* field = find_field(path);
  if (field == nullptr) {
    const std::string what = is_section(path) ? fmt::format("{} is a section: set one of its keys", path)
                                              : fmt::format("unknown key {}; the nearest is {}", path, nearest_key(path));
    return loaded.violations.push_back({where, what});
  }
  std::vector<std::string> items;
  bool is_list = false, plain = true;
  try {
    const YAML::Node node = YAML::Load(value);
    is_list = node.IsSequence();
    plain = !node.IsMap();
    if (node.IsScalar() || node.IsNull()) items.push_back(node.IsNull() ? value : node.Scalar());
    if (is_list)
      for (const YAML::Node& item : node) {
        plain = plain && item.IsScalar();
        if (item.IsScalar()) items.push_back(item.Scalar());
      }
  } catch (const YAML::Exception&) {
    items.push_back(value);
  }
  loaded.places[path] = where;
  const std::string wrong = plain ? field->read(loaded.config, items, is_list) : "expected " + field->type;
  if (wrong.empty()) {
    loaded.unread.erase(path);
  } else {
    loaded.unread.insert(path);
    loaded.violations.push_back({where, fmt::format("{}: {}", path, wrong)});
  }
}

}  // namespace

LoadedConfig load_config_text(const std::string& text, const std::string& name, std::span<const std::string> overrides) {
  LoadedConfig loaded;
  loaded.name = name;
  Loader loader(loaded);
  try {
    loader.load(YAML::LoadAll(text));
  } catch (const YAML::Exception& error) {
    loaded.violations.push_back({fmt::format("{}:{}", name, error.mark.line + 1), "not YAML: " + error.msg});
    for (const Field& field : schema()) loaded.unread.insert(field.path);
    return loaded;
  }
  for (const std::string& override_text : overrides) apply_override(loaded, override_text);
  loader.require_all();
  return loaded;
}

std::string place_of(const LoadedConfig& loaded, const std::string& key) {
  for (std::string path = key; !path.empty(); path.resize(path.rfind('.') == std::string::npos ? 0 : path.rfind('.')))
    if (const auto found = loaded.places.find(path); found != loaded.places.end()) return found->second;
  return loaded.name;
}

LoadedConfig load_config(const std::string& path, std::span<const std::string> overrides) {
  std::string text;
  try {
    text = read_text(path);
  } catch (const Error& error) {
    throw Error(ExitCode::config, error.what());
  }
  return load_config_text(text, path, overrides);
}

std::string to_yaml(const Config& config) {
  std::string text;
  std::vector<std::string> open;  // sections that the last line stands in
  for (const Field& field : schema()) {
    std::vector<std::string> parts;
    for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
      end = field.path.find('.', begin);
      parts.push_back(field.path.substr(begin, end == std::string::npos ? end : end - begin));
    }
    for (size_t depth = 0; depth + 1 < parts.size(); ++depth) {
      if (depth < open.size() && open[depth] == parts[depth]) continue;
      open.resize(depth);
      open.push_back(parts[depth]);
      text += std::string(2 * depth, ' ') + parts[depth] + ":\n";
    }
    open.resize(parts.size() - 1);
    text += std::string(2 * (parts.size() - 1), ' ') + parts.back() + ": " + field.write(config) + "\n";
  }
  return text;
}

std::vector<ConfigDifference> diff(const Config& before, const Config& after) {
  std::vector<ConfigDifference> differences;
  for (const Field& field : schema())
    if (field.write(before) != field.write(after)) differences.push_back({field.path, field.write(before), field.write(after)});
  return differences;
}

std::string config_reference() {
  std::string text =
      "# Configuration\n\n"
      "One YAML file describes a run. Every key is checked before anything starts; `drover validate FILE --ranks N` does only "
      "that.\n"
      "`--set key.path=value` overrides a key on the command line. This page is generated: `drover docs config > "
      "docs/config.md`.\n";
  std::string section;
  for (const Field& field : schema()) {
    const std::string name = field.path.substr(0, field.path.find('.'));
    if (name != section) text += fmt::format("\n## {}\n\n| key | value | default | meaning |\n|---|---|---|---|\n", section = name);
    std::string type = field.type;
    for (size_t at = 0; (at = type.find(" | ", at)) != std::string::npos; at += 4) type.replace(at, 3, " \\| ");
    text += fmt::format("| `{}` | {} | {} | {} |\n", field.path, type, field.required ? "required" : "`" + field.fallback + "`",
                        field.doc);
  }
  return text;
}

}  // namespace drover
