#include "data/survey.h"

#include <cstring>

#include "kernels/base/error.h"

namespace drover {
namespace {

constexpr size_t kBuffered = size_t{1} << 15;

struct Head {
  int64_t text_bytes, records;
};

// Hashes in a table of fixed size, four fifths full at most, by linear probing.
class HashTable {
 public:
  explicit HashTable(int64_t most) : slots_(static_cast<size_t>(most + most / 4 + 16)) {}
  bool insert(DocumentHash hash) {  // false: it was there
    if (hash == DocumentHash{}) hash.low = 1;
    size_t at = static_cast<size_t>((static_cast<unsigned __int128>(hash.low) * slots_.size()) >> 64);
    while (slots_[at] != DocumentHash{}) {
      if (slots_[at] == hash) return false;
      if (++at == slots_.size()) at = 0;
    }
    slots_[at] = hash;
    return true;
  }

 private:
  std::vector<DocumentHash> slots_;
};

}  // namespace

SurveyWriter::SurveyWriter(std::filesystem::path path)
    : path_(std::move(path)), temporary_(path_.string() + ".tmp"), file_(File::create(temporary_)) {}

SurveyWriter::~SurveyWriter() {
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void SurveyWriter::add(const SurveyRecord& record) {
  buffer_.push_back(record);
  if (buffer_.size() == kBuffered) flush();
}

void SurveyWriter::flush() {
  const size_t bytes = buffer_.size() * sizeof(SurveyRecord);
  file_.write_at(static_cast<int64_t>(sizeof(Head)) + records_ * static_cast<int64_t>(sizeof(SurveyRecord)), buffer_.data(), bytes);
  records_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
}

void SurveyWriter::finish(int64_t text_bytes) {
  flush();
  const Head head{text_bytes, records_};
  file_.write_at(0, &head, sizeof head);
  file_.sync();
  std::filesystem::rename(temporary_, path_);
  sync_directory(path_.parent_path());
}

Survey::Survey(const std::filesystem::path& path) : file_(path) {
  Head head{};
  const auto bytes = file_.bytes();
  if (bytes.size() >= sizeof head) std::memcpy(&head, bytes.data(), sizeof head);
  if (bytes.size() != sizeof head + static_cast<size_t>(head.records) * sizeof(SurveyRecord))
    throw Error(ExitCode::data, path.string() + ": damaged; remove " + path.parent_path().string() + " and prepare again");
  text_bytes_ = head.text_bytes;
  records_ = {reinterpret_cast<const SurveyRecord*>(bytes.data() + sizeof head), static_cast<size_t>(head.records)};
}

void find_duplicates(int64_t documents, int units, const std::function<Survey(int unit)>& survey,
                     const std::function<void(int unit, const std::vector<uint64_t>& keys)>& found) {
  HashTable seen(documents);
  std::vector<uint64_t> keys;
  for (int unit = 0; unit < units; ++unit) {
    keys.clear();
    const Survey looked_at = survey(unit);
    for (const SurveyRecord& record : looked_at.records())
      if (!seen.insert(record.hash)) keys.push_back(record.key);
    found(unit, keys);
  }
}

}  // namespace drover
