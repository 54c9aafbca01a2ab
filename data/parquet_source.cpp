#include "data/parquet_source.h"

#include <fmt/format.h>

#include "kernels/base/error.h"
#ifdef DROVER_WITH_ARROW
#include <arrow/array.h>
#include <arrow/io/file.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/config.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#endif

namespace drover {

#ifdef DROVER_WITH_ARROW

namespace {

constexpr int64_t kBatchRows = 1024;
constexpr int64_t kBuffer = int64_t{1} << 20;  // of the file, for a column

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ExitCode::data, "input " + path.string() + ": " + what);
}

class ArrowSource final : public ParquetSource {
 public:
  ArrowSource(std::filesystem::path path, const std::string& column, int64_t row) : path_(std::move(path)) {
    guarded([&] {
      parquet::ReaderProperties properties;
      properties.enable_buffered_stream();  // a column chunk is read in parts, not at once
      properties.set_buffer_size(kBuffer);
      auto file = parquet::ParquetFileReader::OpenFile(path_.string(), false, properties);
      rows_ = file->metadata()->num_rows();
      groups_ = file->metadata()->num_row_groups();
      parquet::ArrowReaderProperties arrow_properties(false);
      arrow_properties.set_batch_size(kBatchRows);
      arrow_properties.set_pre_buffer(false);
      take(parquet::arrow::FileReader::Make(arrow::default_memory_pool(), std::move(file), arrow_properties), reader_);
      find_column(column);
      for (; group_ < groups_ && row >= rows_of(group_); ++group_) {
        row -= rows_of(group_);
        given_ += rows_of(group_);
      }
      for (std::optional<std::string_view> passed; row > 0; --row) next(passed);
    });
  }

  bool next(std::optional<std::string_view>& value) override {
    while (!strings_ || at_ == strings_->length())
      if (!next_batch()) return false;
    value = strings_->IsNull(at_) ? std::nullopt : std::optional(view(at_));
    ++at_;
    ++given_;
    return true;
  }
  double share_read() const override { return rows_ == 0 ? 1 : static_cast<double>(given_) / static_cast<double>(rows_); }

 private:
  template <class Body> void guarded(Body&& body) {
    try {
      body();
    } catch (const parquet::ParquetException& error) {
      fail(path_, std::string("damaged Parquet, or none: ") + error.what());
    }
  }
  void check(const arrow::Status& status) {
    if (!status.ok()) fail(path_, "damaged Parquet: " + status.message());
  }
  template <class Value> void take(arrow::Result<Value> result, Value& into) {
    check(result.status());
    into = std::move(result).ValueUnsafe();
  }

  int64_t rows_of(int group) const { return reader_->parquet_reader()->metadata()->RowGroup(group)->num_rows(); }

  void find_column(const std::string& column) {
    const parquet::SchemaDescriptor* schema = reader_->parquet_reader()->metadata()->schema();
    std::string names;
    for (int i = 0; i < schema->num_columns(); ++i) {
      const auto* found = schema->Column(i);
      const std::string name = found->path()->ToDotString();
      names += (names.empty() ? "" : ", ") + name;
      if (name != column) continue;
      if (found->physical_type() != parquet::Type::BYTE_ARRAY || found->max_repetition_level() > 0)
        fail(path_, fmt::format("column \"{}\" holds no strings; --column names another", column));
      columns_ = {i};
    }
    if (columns_.empty()) fail(path_, fmt::format("no column \"{}\" for the text; --column names one of: {}", column, names));
  }

  bool next_batch() {
    bool there = false;
    guarded([&] {
      std::shared_ptr<arrow::RecordBatch> batch;
      while (!there) {
        if (!batches_) {
          if (group_ == groups_) return;
          take(reader_->GetRecordBatchReader({group_++}, columns_), batches_);
        }
        check(batches_->ReadNext(&batch));
        if (!batch) {
          batches_.reset();
          continue;
        }
        strings_ = batch->column(0);
        at_ = 0;
        there = true;
      }
      const auto type = strings_->type_id();
      if (type != arrow::Type::STRING && type != arrow::Type::BINARY && type != arrow::Type::LARGE_STRING &&
          type != arrow::Type::LARGE_BINARY)
        fail(path_, fmt::format("the column holds {}, no strings; --column names another", strings_->type()->ToString()));
    });
    return there;
  }

  std::string_view view(int64_t at) const {
    const auto type = strings_->type_id();
    if (type == arrow::Type::LARGE_STRING || type == arrow::Type::LARGE_BINARY)
      return static_cast<const arrow::LargeBinaryArray&>(*strings_).GetView(at);
    return static_cast<const arrow::BinaryArray&>(*strings_).GetView(at);
  }

  std::filesystem::path path_;
  std::unique_ptr<parquet::arrow::FileReader> reader_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;  // of a row group
  std::shared_ptr<arrow::Array> strings_;              // of a batch
  std::vector<int> columns_;
  int64_t at_ = 0, given_ = 0, rows_ = 0;
  int group_ = 0, groups_ = 0;
};

}  // namespace

bool reads_parquet() { return true; }
std::string parquet_version() { return fmt::format("Arrow {}", ARROW_VERSION_STRING); }
std::unique_ptr<ParquetSource> ParquetSource::open(const std::filesystem::path& path, const std::string& column, int64_t row) {
  return std::make_unique<ArrowSource>(path, column, row);
}

#else

bool reads_parquet() { return false; }
std::string parquet_version() { return "without Arrow (no Parquet is read)"; }
std::unique_ptr<ParquetSource> ParquetSource::open(const std::filesystem::path&, const std::string&, int64_t) {
  DROVER_CHECK(false, "a build without Arrow reads no Parquet");
  return nullptr;
}

#endif

}  // namespace drover
