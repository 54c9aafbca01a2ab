#include "trainer/counters.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/base/files.h"
#include "kernels/base/hash.h"

namespace drover {

void write_counters(const std::filesystem::path& run_directory, int rank, Engine& engine, const CheckpointStore& store,
                    int64_t grown) {
  nlohmann::json counters{{"checkpoint_bytes_read", store.bytes_read()},
                          {"checkpoint_bytes_verified", store.bytes_verified()},
                          {"planned_bytes", engine.memory().used()},
                          {"resident_bytes_grown", grown}};
  for (size_t kind = 0; kind < static_cast<size_t>(OpKind::count); ++kind) {
    const OpTotals& totals = engine.stream().totals(static_cast<OpKind>(kind));
    counters["ops"][name_of(static_cast<OpKind>(kind))] = {
        {"calls", totals.calls}, {"flops", totals.flops}, {"bytes", totals.bytes}};
  }
  for (const std::string& category : engine.memory().categories()) counters["memory"][category] = engine.memory().used_by(category);
  for (const Piece& piece : engine.held_pieces())
    counters["state"][fmt::format("{} {} {}", piece.array, piece.name, to_string(piece.rectangle.offset))] =
        fmt::format("{:016x}", xxh3(piece.data, static_cast<size_t>(piece.rectangle.extent.count()) * sizeof(float)));
  for (const auto& [name, hash] : engine.weight_hashes()) counters["weights"][name] = fmt::format("{:016x}", hash);
  write_durably(run_directory / fmt::format("counters_rank_{}.json", rank), counters.dump(1) + "\n");
}

}  // namespace drover
