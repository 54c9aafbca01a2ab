#include "data/prepare_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "data/shard_directory.h"
#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr int kMostUnits = 100000;  // of five digits, as the shards
constexpr const char* kSuffixes[] = {".survey", ".made"};

bool shards_open(const ShardNames& names, int64_t shards) {
  try {
    for (int i = 0; i < static_cast<int>(shards); ++i) Shard{names.path(i)};
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

PrepareOutput::PrepareOutput(std::filesystem::path out, const std::vector<std::string>& parts, nlohmann::json made_from, int units)
    : out_(std::move(out)), journal_(out_ / "prepare.journal"), made_from_(std::move(made_from)), units_(units) {
  if (units > kMostUnits)
    throw Error(ExitCode::data,
                fmt::format("the inputs make {} units of {} MiB, more than the {} that shards' names have room for; "
                            "prepare them into several directories",
                            units, kUnitBytes >> 20, kMostUnits));
  for (const std::string& part : parts) directories_.push_back(part.empty() ? out_ : out_ / part);
  for (auto& stage : done_) stage.resize(static_cast<size_t>(units));
}

ShardNames PrepareOutput::names(size_t part, int unit) const {
  return {directories_[part], units_ == 1 ? "" : fmt::format("unit_{:05d}_", unit)};
}

std::filesystem::path PrepareOutput::journal_file(int unit, const char* suffix) const {
  return journal_ / fmt::format("unit_{:05d}{}", unit, suffix);
}

std::optional<PreparedTotals> PrepareOutput::find_prepared() const {
  PreparedTotals all;
  for (const auto& directory : directories_) {
    const auto totals = find_finished(directory, made_from_);
    if (!totals) return std::nullopt;
    all.shards += totals->shards, all.tokens += totals->tokens, all.documents += totals->documents;
  }
  return all;
}

File PrepareOutput::lock() const {
  make_directories(out_);
  while (true) {
    if (auto held = lock_file(out_ / "prepare.lock")) return std::move(*held);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

bool PrepareOutput::plan_is_ours() const {
  const auto path = journal_ / "plan.json";
  return std::filesystem::exists(path) && nlohmann::json::parse(read_text(path), nullptr, false) == made_from_;
}

// False: another process has finished.
bool PrepareOutput::going_on() const {
  if (plan_is_ours()) return true;
  if (find_prepared()) return false;
  throw Error(ExitCode::data, out_.string() + " was taken or removed by another process meanwhile; run this once more");
}

// That nobody works here, and that nothing is lost.
void PrepareOutput::require_free_of(const std::string& why) const {
  std::error_code not_there;
  for (const auto& entry : std::filesystem::directory_iterator(journal_, not_there))
    if (entry.path().extension() == ".lock" && !lock_file(entry.path()))
      throw Error(ExitCode::data, fmt::format("{} is being prepared by another process ({}); wait for it, or choose another --out",
                                              out_.string(), read_text(entry.path())));
  if (!std::filesystem::exists(journal_ / "plan.json")) return;
  for (const auto& entry : std::filesystem::directory_iterator(journal_)) {
    const std::string suffix = entry.path().extension();
    if (suffix == ".made" || (suffix == ".shards" && std::filesystem::file_size(entry.path()) > 0))
      throw Error(ExitCode::data, fmt::format("{} holds finished shards of a prepare that was stopped; {}", out_.string(), why));
  }
}

void PrepareOutput::clear() const {
  for (const auto& directory : directories_) {
    make_directories(directory);
    clear_shards(directory);
  }
  std::filesystem::remove_all(journal_);
}

// Units whose shards do not open are made again.
void PrepareOutput::forget_damaged_units() const {
  for (int unit = 0; unit < units_; ++unit) {
    const auto path = journal_file(unit, ".made");
    if (!std::filesystem::exists(path)) continue;
    const auto made = nlohmann::json::parse(read_text(path), nullptr, false);
    bool sound = made.is_object();
    for (size_t part = 0; sound && part < directories_.size(); ++part)
      sound = shards_open(names(part, unit), made["parts"][part]["shards"].get<int64_t>());
    if (!sound) std::filesystem::remove(path);
  }
}

void PrepareOutput::begin(bool resumable) {
  for (const auto& directory : directories_) require_no_other_shards(directory);
  const File held = lock();
  if (find_prepared()) return;  // another process finished before the lock was ours
  const bool ours = plan_is_ours();
  if (!ours || !resumable)
    require_free_of(
        ours ? "standard input cannot be read from where it was; remove the directory, or choose another --out"
             : "these are of other inputs or options: give the ones that it had, and it goes on; else remove the directory, "
               "or choose another --out");
  if (!ours || !resumable) {
    clear();
    make_directories(journal_);
    write_durably(journal_ / "plan.json", made_from_.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    return;
  }
  for (const auto& directory : directories_) {
    make_directories(directory);
    unfinish(directory);
  }
  forget_damaged_units();
}

PrepareOutput::Claim PrepareOutput::claim(UnitStage stage) {
  const File held = lock();
  if (!going_on()) return {.all_done = true};
  Claim claim{.all_done = true};
  for (int unit = 0; unit < units_; ++unit) {
    auto done = done_[static_cast<size_t>(stage)].begin() + unit;
    const auto see = [&] {
      return *done = *done || std::filesystem::exists(journal_file(unit, kSuffixes[static_cast<size_t>(stage)]));
    };
    if (see()) continue;
    auto work = lock_file(journal_file(unit, ".lock"));
    if (work && see()) continue;  // meanwhile
    claim.all_done = false;
    if (!work) continue;
    claim.unit = unit;
    claim.lock = std::move(*work);
    break;
  }
  return claim;
}

void PrepareOutput::mark_done(UnitStage stage, int unit, std::string_view result) const {
  write_durably(journal_file(unit, kSuffixes[static_cast<size_t>(stage)]), result);
}

std::string PrepareOutput::result(UnitStage stage, int unit) const {
  return read_text(journal_file(unit, kSuffixes[static_cast<size_t>(stage)]));
}

std::optional<std::string> PrepareOutput::once(const std::string& name, const std::function<std::string()>& body) const {
  const File held = lock();
  if (!going_on()) return std::nullopt;
  const auto path = journal_ / name;
  if (!std::filesystem::exists(path)) write_durably(path, body());
  return read_text(path);
}

void PrepareOutput::finish(const std::function<nlohmann::json(size_t part)>& body) const {
  const File held = lock();
  if (!going_on()) return;
  for (size_t part = 0; part < directories_.size(); ++part) {
    nlohmann::json json = body(part);
    json["made_from"] = made_from_;
    finish_directory(directories_[part], json);
  }
  std::filesystem::remove_all(journal_);
}

}  // namespace drover
