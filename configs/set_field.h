// Values of a YAML tree into the configuration, by the schema's fields.
#pragma once
#include <functional>
#include <string>

#include "configs/load.h"
#include "configs/schema.h"

namespace YAML {
class Node;
struct Mark;
}  // namespace YAML

namespace drover {

using PlaceOf = std::function<std::string(const YAML::Mark&)>;  // "file:line"

// What is wrong with it goes to the violations, and its key then to the unread; so does that of a nested field when one of its entries is wrong.
void set_field(LoadedConfig& loaded, const Field& field, const YAML::Node& value, const std::string& where, const PlaceOf& place);

// A plain value, as it stands.
void set_text(LoadedConfig& loaded, const Field& field, const std::string& text, const std::string& where);

}  // namespace drover
