// The machine this process runs on, as messages name it.
#pragma once
#include <string>

namespace drover {

std::string host_name();

}  // namespace drover
