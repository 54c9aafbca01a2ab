#include "trainer/checkpoint/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/files.h"
#include "kernels/base/hash.h"

namespace drover {
namespace {

constexpr int kVersion = 2;

[[noreturn]] void damaged(const std::filesystem::path& checkpoint, const std::string& what) {
  throw Error(ExitCode::resume, "checkpoint " + checkpoint.string() + ": " + what);
}

int64_t stripes_of(int64_t file_bytes) { return file_bytes / kStripeBytes + (file_bytes % kStripeBytes != 0); }

void check_rectangle(const std::filesystem::path& checkpoint, const pb::File& file, const pb::Rectangle& r) {
  const int rank = r.global_size();
  bool sound = (rank == 1 || rank == 2) && r.offset_size() == rank && r.extent_size() == rank && r.file_offset() >= 0;
  int64_t count = 1, global = 1;
  for (int dim = 0; sound && dim < rank; ++dim) {
    sound = r.extent(dim) > 0 && r.offset(dim) >= 0 && r.global(dim) > 0 && r.extent(dim) <= r.global(dim) - r.offset(dim) &&
            count <= file.bytes() / r.extent(dim) && global <= std::numeric_limits<int64_t>::max() / r.global(dim);
    count *= sound ? r.extent(dim) : 1;
    global *= sound ? r.global(dim) : 1;
  }
  if (!sound || r.file_offset() > file.bytes() || count * 4 > file.bytes() - r.file_offset())
    damaged(checkpoint, fmt::format("the manifest places {} {} outside {}", r.array(), r.name(), file.name()));
}

pb::Order to_proto(const OrderSpec& order) {
  pb::Order out;
  out.set_seed(order.seed);
  out.set_window(order.window);
  out.set_pieces(order.pieces);
  for (const OrderSource& source : order.sources) {
    pb::OrderSource& to = *out.add_sources();
    to.set_name(source.name);
    to.set_seed(source.seed);
    to.set_tokens(source.tokens);
    to.set_block(source.block);
  }
  for (const OrderPhase& phase : order.phases) {
    pb::OrderPhase& to = *out.add_phases();
    to.set_end(phase.end == kNoEnd ? 0 : phase.end);
    to.set_sequence(phase.sequence);
    to.mutable_shares()->Add(phase.shares.begin(), phase.shares.end());
  }
  for (const SampleRange& range : order.skip) {
    pb::SampleRange& to = *out.add_skip();
    to.set_begin(range.begin);
    to.set_end(range.end);
  }
  return out;
}

OrderSpec from_proto(const pb::Order& order) {
  OrderSpec out{.seed = order.seed()};
  for (const pb::OrderSource& source : order.sources())
    out.sources.push_back({.name = source.name(), .seed = source.seed(), .tokens = source.tokens(), .block = source.block()});
  for (const pb::OrderPhase& phase : order.phases())
    out.phases.push_back({.end = phase.end() == 0 ? kNoEnd : phase.end(),
                          .sequence = phase.sequence(),
                          .shares = {phase.shares().begin(), phase.shares().end()}});
  for (const pb::SampleRange& range : order.skip()) out.skip.push_back({range.begin(), range.end()});
  out.window = order.window();
  out.pieces = order.pieces();
  return out;
}

}  // namespace

pb::State to_proto(const RunState& state) {
  pb::State out;
  if (!state.order.sources.empty()) *out.mutable_order() = to_proto(state.order);
  out.set_tokens(state.tokens);
  out.set_step(state.step);
  out.set_applied(state.applied);
  out.set_samples_consumed(state.samples_consumed);
  out.set_skipped(state.skipped);
  out.set_skipped_in_row(state.skipped_in_row);
  out.set_config_yaml(state.config_yaml);
  out.set_tokenizer(state.tokenizer);
  out.set_tokenizer_hash(state.tokenizer_hash);
  out.set_dataset_hash(state.dataset_hash);
  out.set_build(state.build);
  out.set_instruction_set(state.instruction_set);
  out.set_threads(state.threads);
  out.set_layout(state.layout);
  out.set_products(state.products);
  return out;
}

RunState from_proto(const pb::State& state) {
  return {.step = state.step(),
          .applied = state.applied(),
          .samples_consumed = state.samples_consumed(),
          .skipped = state.skipped(),
          .skipped_in_row = state.skipped_in_row(),
          .config_yaml = state.config_yaml(),
          .tokenizer = state.tokenizer(),
          .tokenizer_hash = state.tokenizer_hash(),
          .dataset_hash = state.dataset_hash(),
          .build = state.build(),
          .instruction_set = state.instruction_set(),
          .threads = state.threads(),
          .layout = state.layout(),
          .products = state.products(),
          .tokens = state.tokens(),
          .order = from_proto(state.order())};
}

Shape shape_of(const google::protobuf::RepeatedField<int64_t>& dims) {
  Shape shape;
  shape.rank = dims.size();
  std::copy(dims.begin(), dims.end(), shape.dims.begin());
  return shape;
}

std::string encode_manifest(const pb::Manifest& manifest) {
  pb::Manifest stamped = manifest;
  stamped.set_version(kVersion);
  std::string bytes = stamped.SerializeAsString();
  const uint64_t hash = xxh3(bytes);
  bytes.append(reinterpret_cast<const char*>(&hash), sizeof hash);
  return bytes;
}

pb::Manifest load_manifest(const std::filesystem::path& checkpoint) {
  std::string bytes;
  try {
    bytes = read_text(checkpoint / "manifest.pb");
  } catch (const Error& error) {
    damaged(checkpoint, error.what());
  }
  uint64_t hash = 0;
  if (bytes.size() < sizeof hash) damaged(checkpoint, "manifest.pb is truncated");
  std::memcpy(&hash, bytes.data() + bytes.size() - sizeof hash, sizeof hash);
  bytes.resize(bytes.size() - sizeof hash);
  if (xxh3(bytes) != hash) damaged(checkpoint, "manifest.pb: the checksum does not match");
  pb::Manifest manifest;
  if (!manifest.ParseFromString(bytes)) damaged(checkpoint, "manifest.pb cannot be parsed");
  if (manifest.version() != kVersion)
    damaged(checkpoint, fmt::format("format version {}, this program reads version {}", manifest.version(), kVersion));
  const int64_t named = step_of_directory((checkpoint / "manifest.pb").parent_path().filename());
  if (named >= 0 && named != manifest.state().step())
    damaged(checkpoint, fmt::format("manifest.pb is of step {}", manifest.state().step()));
  for (const pb::File& file : manifest.files()) {
    if (file.name().empty() || file.name().find('/') != std::string::npos)
      damaged(checkpoint, "the manifest names a file outside the checkpoint");
    if (file.bytes() < 0 || file.stripes_size() != stripes_of(file.bytes()))
      damaged(checkpoint,
              fmt::format("the manifest has {} checksums for the {} bytes of {}", file.stripes_size(), file.bytes(), file.name()));
    for (const pb::Rectangle& rectangle : file.rectangles()) check_rectangle(checkpoint, file, rectangle);
  }
  return manifest;
}

std::string step_directory_name(int64_t step) { return fmt::format("step_{:08d}", step); }

int64_t step_of_directory(const std::string& name) {
  if (!name.starts_with("step_") || name.size() < 13 || name.size() > 20) return -1;
  if (name.find_first_not_of("0123456789", 5) != std::string::npos) return -1;
  return std::stoll(name.substr(5));
}

std::vector<std::filesystem::path> step_directories(const std::filesystem::path& checkpoints) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(checkpoints, error))
    if (entry.is_directory() && step_of_directory(entry.path().filename()) >= 0) found.push_back(entry.path());
  if (error && error != std::errc::no_such_file_or_directory)
    throw Error(ExitCode::resume, checkpoints.string() + " cannot be read: " + error.message());
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return step_of_directory(a.filename()) > step_of_directory(b.filename()); });
  return found;
}

std::string check_size(const std::filesystem::path& checkpoint, const pb::File& file) {
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(checkpoint / file.name(), error);
  if (error) return fmt::format("{}: {}", file.name(), error.message());
  if (bytes == static_cast<uintmax_t>(file.bytes())) return "";
  return fmt::format("{} has {} bytes, the manifest says {}", file.name(), bytes, file.bytes());
}

std::string check_stripes(const std::filesystem::path& checkpoint, const pb::File& file, int64_t first, int64_t every,
                          int64_t& bytes_read) {
  if (std::string problem = check_size(checkpoint, file); !problem.empty()) return problem;
  try {
    const File stored = File::open_read(checkpoint / file.name());
    std::vector<char> buffer(static_cast<size_t>(std::min(kStripeBytes, file.bytes())));
    for (int64_t stripe = first; stripe < file.stripes_size(); stripe += every) {
      const int64_t begin = stripe * kStripeBytes, end = std::min(begin + kStripeBytes, file.bytes());
      stored.read_at(begin, buffer.data(), static_cast<size_t>(end - begin));
      bytes_read += end - begin;
      if (xxh3(buffer.data(), static_cast<size_t>(end - begin)) != file.stripes(static_cast<int>(stripe)))
        return fmt::format("{}: the checksum of bytes {} to {} does not match", file.name(), begin, end - 1);
    }
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string check_file(const std::filesystem::path& checkpoint, const pb::File& file) {
  int64_t bytes_read = 0;
  return check_stripes(checkpoint, file, 0, 1, bytes_read);
}

}  // namespace drover
