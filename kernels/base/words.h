// Words of messages to a person.
#pragma once
#include <concepts>
#include <string>

namespace drover {

// "1 shard", "2 shards"
std::string counted(std::integral auto count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace drover
