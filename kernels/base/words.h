// Words of messages to a person.
#pragma once
#include <concepts>
#include <string>

namespace drover {

// "1 shard", "2 shards", "2 micro-batches"
std::string counted(std::integral auto count, const std::string& what) {
  const char* plural = what.ends_with("ch") ? "es" : "s";
  return std::to_string(count) + " " + what + (count == 1 ? "" : plural);
}

}  // namespace drover
