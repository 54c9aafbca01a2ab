// Every rule that a configuration must satisfy, without MPI, GPU or data.
#pragma once
#include "configs/load.h"

namespace drover {

// Fills parallel.dp when it was omitted, and every other derived value, then returns what was wrong with the text and every violated
// rule over what could be read (not the first), each with the valid alternatives computed for this configuration and `ranks`.
std::vector<Violation> resolve_and_validate(LoadedConfig& loaded, int64_t ranks);

// All violations as one Error(config), one line each; returns when there are none.
void throw_if_any(const std::vector<Violation>& violations);

// The same kind of layout at small sizes, for `--tiny`: fits 8 ranks and trains in seconds.
Config tiny(const Config& config);

}  // namespace drover
