#include "data/unit_journal.h"

#include <fcntl.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/base/error.h"

namespace drover {
namespace {

using nlohmann::json;

std::string to_line(size_t part, const ShardPlace& place, const UnitTally& tally) {
  const json line = {{"part", part},
                     {"file", place.place.file},
                     {"offset", place.place.offset},
                     {"line", place.place.line},
                     {"bytes", place.place.bytes},
                     {"piece_tokens", place.piece_tokens},
                     {"shards", place.shards},
                     {"tokens", place.tokens},
                     {"documents", place.documents},
                     {"bad", tally.bad.count},
                     {"bad_first", tally.bad.first},
                     {"duplicates", tally.duplicates}};
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

// False for a line that is not whole.
bool from_line(const std::string& text, size_t& part, ShardPlace& place, UnitTally& tally) {
  const json line = json::parse(text, nullptr, false);
  if (!line.is_object()) return false;
  try {
    line.at("part").get_to(part);
    line.at("file").get_to(place.place.file);
    line.at("offset").get_to(place.place.offset);
    line.at("line").get_to(place.place.line);
    line.at("bytes").get_to(place.place.bytes);
    line.at("piece_tokens").get_to(place.piece_tokens);
    line.at("shards").get_to(place.shards);
    line.at("tokens").get_to(place.tokens);
    line.at("documents").get_to(place.documents);
    line.at("bad").get_to(tally.bad.count);
    line.at("bad_first").get_to(tally.bad.first);
    line.at("duplicates").get_to(tally.duplicates);
  } catch (const json::exception&) {
    return false;
  }
  return part < kParts;
}

File open_to_append(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) throw Error(ExitCode::storage, "cannot open " + path.string());
  return File::adopt(descriptor, path);
}

}  // namespace

UnitJournal::UnitJournal(const std::filesystem::path& path, const Sound& sound)
    : file_([&] {
        std::string kept;
        if (std::filesystem::exists(path)) {
          std::istringstream lines(read_text(path));
          std::array<bool, kParts> broken{};
          for (std::string text; std::getline(lines, text) && !lines.eof();) {
            size_t part = 0;
            ShardPlace place;
            UnitTally tally;
            if (!from_line(text, part, place, tally)) break;
            broken[part] = broken[part] || place.shards != places_[part].shards + 1 || !sound(part, place.shards - 1, place);
            if (broken[part]) continue;
            places_[part] = place;
            tallies_[part] = std::move(tally);
            kept += text + "\n";
          }
        }
        write_durably(path, kept);
        end_ = static_cast<int64_t>(kept.size());
        return open_to_append(path);
      }()) {}

void UnitJournal::add(size_t part, const ShardPlace& place, const UnitTally& tally) {
  const std::string line = to_line(part, place, tally);
  file_.write_at(end_, line.data(), line.size());
  file_.sync();
  end_ += static_cast<int64_t>(line.size());
}

}  // namespace drover
