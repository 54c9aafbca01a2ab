// The rules of data.sources, data.phases and data.skip: a part of validate.h's.
#pragma once
#include <functional>
#include <string>

#include "configs/load.h"

namespace drover {

// Calls violate(key, message) for each rule that what could be read breaks.
void check_data(const LoadedConfig& loaded, const std::function<void(const std::string&, const std::string&)>& violate);

}  // namespace drover
