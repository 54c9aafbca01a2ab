#include "configs/set_field.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <optional>

namespace drover {
namespace {

// A scalar, or a list of scalars; nothing else is a value.
std::optional<Value> value_of(const YAML::Node& node) {
  if (node.IsScalar())
    return Value{.items = {node.Scalar()}, .is_string = node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str"};
  if (!node.IsSequence()) return std::nullopt;
  Value list{.is_list = true};
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) return std::nullopt;
    list.items.push_back(item.Scalar());
  }
  return list;
}

void set_value(LoadedConfig& loaded, const Field& field, const std::optional<Value>& value, const std::string& where) {
  loaded.places[field.path] = where;
  const std::string wrong = value ? field.read(loaded.config, *value) : "expected " + field.type;
  if (wrong.empty()) {
    loaded.unread.erase(field.path);
  } else {
    loaded.unread.insert(field.path);
    loaded.violations.push_back({where, fmt::format("{}: {}", field.path, wrong)});
  }
}

class Entries {
 public:
  Entries(LoadedConfig& loaded, const PlaceOf& place) : loaded_(loaded), place_(place) {}

  void read(const Field& field, const YAML::Node& value, const std::string& where) {
    loaded_.places[field.path] = where;
    if (value.IsNull()) return;
    if (field.nested->numbered ? !value.IsSequence() : !value.IsMap())
      return loaded_.violations.push_back({where, fmt::format("{}: expected {}", field.path, field.type)});
    size_t number = 0;
    for (const auto& item : value) {
      if (field.nested->numbered) {
        read_entry(field, std::to_string(++number), item, place_(item.Mark()));
      } else if (const std::optional<std::string> name = key(item.first, field.path, ""); name) {
        const std::string at = place_(item.first.Mark());
        if (is_entry_name(*name))
          read_entry(field, *name, item.second, at);
        else
          loaded_.violations.push_back(
              {at, fmt::format("{}: \"{}\" is no name: up to 32 letters, digits, _ and -, a letter first", field.path, *name)});
      }
    }
  }

 private:
  // Of a map, once; of a second one of the same name, and of what is no word, it is said.
  std::optional<std::string> key(const YAML::Node& node, const std::string& path, const std::string& valid) {
    const std::string at = place_(node.Mark()), name = node.IsScalar() ? node.Scalar() : "";
    if (name.empty()) {
      loaded_.violations.push_back({at, fmt::format("{}: a key is missing, or no word{}", path, valid)});
      return std::nullopt;
    }
    const auto [first, fresh] = seen_.emplace(path + "." + name, at);
    if (fresh) return name;
    loaded_.violations.push_back({at, fmt::format("{}.{} is there twice, first at {}; keep one", path, name, first->second)});
    return std::nullopt;
  }

  void read_entry(const Field& field, const std::string& name, const YAML::Node& value, const std::string& where) {
    const std::string path = field.path + "." + name;
    const std::vector<Field> keys = field.nested->keys(name);
    if (keys.size() == 1 && keys.front().path == path) return set_value(loaded_, keys.front(), value_of(value), where);
    loaded_.places[path] = where;
    field.nested->add(loaded_.config, name);
    std::string valid = fmt::format("; keys of a {}:", field.nested->entry);
    for (const Field& each : keys) valid += (valid.ends_with(':') ? " " : ", ") + each.path.substr(path.size() + 1);
    if (!value.IsMap())
      return loaded_.violations.push_back({where, fmt::format("{}: expected its keys, indented below it{}", path, valid)});
    for (const auto& item : value) {
      const std::optional<std::string> word = key(item.first, path, valid);
      if (!word) continue;
      const std::string at = place_(item.first.Mark());
      const auto found = std::find_if(keys.begin(), keys.end(), [&](const Field& each) { return each.path == path + "." + *word; });
      if (found == keys.end())
        loaded_.violations.push_back({at, fmt::format("unknown key {}.{}{}", path, *word, valid)});
      else if (found->nested)
        read(*found, item.second, at);
      else
        set_value(loaded_, *found, value_of(item.second), at);
    }
  }

  LoadedConfig& loaded_;
  const PlaceOf& place_;
  std::map<std::string, std::string> seen_;  // path -> where it stood first
};

}  // namespace

void set_field(LoadedConfig& loaded, const Field& field, const YAML::Node& value, const std::string& where, const PlaceOf& place) {
  if (!field.nested) return set_value(loaded, field, value_of(value), where);
  std::erase_if(loaded.places, [&](const auto& known) { return known.first.starts_with(field.path + "."); });
  std::erase_if(loaded.unread, [&](const std::string& key) { return key == field.path || key.starts_with(field.path + "."); });
  field.nested->clear(loaded.config);
  const size_t wrong_before = loaded.violations.size();
  Entries(loaded, place).read(field, value, where);
  if (loaded.violations.size() > wrong_before) loaded.unread.insert(field.path);
}

void set_text(LoadedConfig& loaded, const Field& field, const std::string& text, const std::string& where) {
  set_value(loaded, field, field.nested ? std::nullopt : std::optional(Value{.items = {text}}), where);
}

}  // namespace drover
