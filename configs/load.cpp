#include "configs/load.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "configs/schema.h"
#include "configs/set_field.h"
#include "kernels/base/error.h"
#include "kernels/base/files.h"

namespace drover {
namespace {

// "model: {layers: ...}" of "model.layers"
std::string nested(const std::string& path) {
  std::string text;
  for (const char c : path) text += c == '.' ? ": {" : std::string(1, c);
  return text + ": ..." + std::string(static_cast<size_t>(std::count(path.begin(), path.end(), '.')), '}');
}

// yaml-cpp (0.7) makes empty documents without end where no value can begin, such as at a comma that is left over.
class DocumentStarts : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (mark.pos == last_) throw YAML::ParserException(mark, "no value begins with this character");
    last_ = mark.pos;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  int last_ = -1;
};

std::vector<YAML::Node> documents(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentStarts starts;
  while (parser.HandleNextDocument(starts)) {
  }
  return YAML::LoadAll(text);
}

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

  void walk(const YAML::Node& map, const std::string& section) {
    const std::string prefix = section.empty() ? "" : section + ".";
    std::map<std::string, YAML::Mark> seen;
    for (const auto& entry : map) {
      const YAML::Mark mark = entry.first.Mark();
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
      if (key.empty()) {
        const char* found = entry.first.IsSequence() ? "a list" : entry.first.IsMap() ? "a map" : "nothing";
        violate(mark, fmt::format("{} stands where a key should; {}", found, keys_of(section)));
        continue;
      }
      read(prefix, key, entry.second, mark);
      const auto [first, fresh] = seen.emplace(key, mark);
      if (fresh) continue;
      const std::string path = prefix + key;
      violate(mark, fmt::format("{} is there twice, first at {}; keep one", path, place(first->second)));
      loaded_.unread.insert(path);
    }
  }

  void read(const std::string& prefix, const std::string& key, const YAML::Node& value, const YAML::Mark& mark) {
    const std::string path = prefix + key;
    const Field* field = find_field(path);
    if (key.find('.') != std::string::npos && (field != nullptr || is_section(path))) {
      violate(mark, fmt::format("unknown key {}: nest it, {}", key, nested(key)));
      return forget(path);
    }
    if (field != nullptr)
      return set_field(loaded_, *field, value, place(mark), [this](const YAML::Mark& inside) { return place(inside); });
    if (is_section(path)) return enter(path, value, mark);
    violate(mark, fmt::format("unknown key {}; {}", path, alternatives(path)));
    if (!value.IsMap()) return;
    // A section that is only misspelt is read, or all of its keys would be called missing. Only one that stands here: a YAML alias may
    // hold itself.
    const std::vector<std::string> near = near_keys(path);
    if (near.size() == 1 && near.front().starts_with(prefix) && is_section(near.front())) enter(near.front(), value, mark);
  }

  void enter(const std::string& section, const YAML::Node& value, const YAML::Mark& mark) {
    loaded_.places[section] = place(mark);
    if (value.IsMap()) return walk(value, section);
    if (value.IsNull()) return;
    violate(mark, fmt::format("{} is a section: its keys stand indented below it", section));
    forget(section + ".");
  }

  LoadedConfig& loaded_;
};

void apply_override(LoadedConfig& loaded, const std::string& text) {
  const std::string where = "--set " + text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    return loaded.violations.push_back({where, "expected key.path=value, such as train.steps=100"});
  const std::string path = text.substr(0, equals), value = text.substr(equals + 1);
  std::optional<Field> field = find_nested(loaded.config, path);
  if (const Field* plain = find_field(path)) field = *plain;
  if (!field) {
    const std::string what = is_section(path) ? fmt::format("{} is a section: set one of its keys", path)
                                              : fmt::format("unknown key {}; {}", path, alternatives(path));
    return loaded.violations.push_back({where, what});
  }
  try {
    const YAML::Node node = YAML::Load(value);
    if (!node.IsNull()) return set_field(loaded, *field, node, where, [&](const YAML::Mark&) { return std::string(where); });
  } catch (const YAML::Exception&) {
  }
  set_text(loaded, *field, value, where);
}

}  // namespace

LoadedConfig load_config_text(const std::string& text, const std::string& name, std::span<const std::string> overrides) {
  LoadedConfig loaded;
  loaded.name = name;
  Loader loader(loaded);
  try {
    loader.load(documents(text));
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
  const auto row = [&](const Field& field) {
    std::string type = field.type;
    for (size_t at = 0; (at = type.find(" | ", at)) != std::string::npos; at += 4) type.replace(at, 3, " \\| ");
    text += fmt::format("| `{}` | {} | {} | {} |\n", field.path, type, field.required ? "required" : "`" + field.fallback + "`",
                        field.doc);
  };
  for (const Field& field : schema()) {
    const std::string name = field.path.substr(0, field.path.find('.'));
    if (name != section) text += fmt::format("\n## {}\n\n| key | value | default | meaning |\n|---|---|---|---|\n", section = name);
    row(field);
    if (!field.nested) continue;
    for (const Field& key : field.nested->keys(field.nested->numbered ? "N" : "NAME")) row(key);
  }
  return text;
}

}  // namespace drover
