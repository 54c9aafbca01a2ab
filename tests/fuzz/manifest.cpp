// A checkpoint's manifest, and reading tensors by it. Input: see guarded(); the rest is manifest.pb or, when the first byte is 'T', its
// text, which a fuzzer changes more easily than lengths within lengths. The one data file that there is holds 4096 bytes of zeros, under the
// name that the corpus uses.
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/store.h"

namespace drover::fuzz {
namespace {

constexpr char kText = 'T';
constexpr int64_t kMostElements = 1 << 16;

// Every tensor that the manifest speaks of, whole, as a resume would read it.
void load_tensors(const std::filesystem::path& checkpoint) {
  const pb::Manifest manifest = load_manifest(checkpoint);
  const auto self = make_self_communicator("fuzz");
  CheckpointStore store(checkpoint.parent_path().parent_path(), *self);
  const CheckpointInfo info = read_manifest(checkpoint);
  for (const pb::File& file : manifest.files())
    for (const pb::Rectangle& rectangle : file.rectangles()) {
      const Shape shape = shape_of(rectangle.global());
      Shape zero = shape;
      zero.dims = {};
      int64_t count = 1;
      for (int dim = 0; dim < shape.rank && count <= kMostElements; ++dim) count *= std::min(shape[dim], kMostElements + 1);
      if (count > kMostElements) continue;
      std::vector<float> values(static_cast<size_t>(count));
      const Piece piece{rectangle.array(), rectangle.name(), shape, {zero, shape}, values.data()};
      // A file that is not there, or ends early, is the disk's fault.
      try {
        store.load(info, {&piece, 1});
      } catch (const Error& error) {
        require(error.code() == ExitCode::resume || error.code() == ExitCode::storage, error.what());
      }
    }
}

// The bytes of manifest.pb.
std::string manifest_of(const uint8_t* data, size_t size) {
  const Guarded input = guarded(data, size);
  std::string bytes = input.bytes;
  if (!input.repair) return bytes;
  if (data[0] == kText) {
    pb::Manifest manifest;
    google::protobuf::TextFormat::ParseFromString(input.bytes, &manifest);  // what stands before a mistake counts
    bytes = manifest.SerializeAsString();
  }
  const uint64_t hash = xxh3(bytes);
  bytes.resize(bytes.size() + sizeof hash);
  put_hash(bytes, bytes.size() - sizeof hash, hash);
  return bytes;
}

void run(const std::string& manifest, const Scratch& scratch) {
  const std::filesystem::path run = scratch.path / "run", checkpoint = run / "checkpoints/step_00000001";
  if (!std::filesystem::exists(checkpoint)) {
    std::filesystem::create_directories(checkpoint);
    scratch.write("run/checkpoints/step_00000001/rank_00000.h5", std::string(4096, '\0'));
  }
  scratch.write("run/checkpoints/step_00000001/manifest.pb", manifest);
  const bool sound = accepted(ExitCode::resume, [&] { load_manifest(checkpoint); });
  const std::vector<CheckpointInfo> all = list_checkpoints(run);
  require(all.size() == 1 && (sound || !all.front().problem.empty()), "the list takes what cannot be loaded");
  verify_checkpoint(checkpoint);
  accepted(ExitCode::resume, [&] { describe_checkpoint(checkpoint); });
  accepted(ExitCode::resume, [&] { compare_checkpoints(checkpoint, checkpoint); });
  if (sound) load_tensors(checkpoint);
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const drover::fuzz::Scratch scratch;
  static const auto logged = google::protobuf::SetLogHandler(nullptr);
  (void)logged;
  drover::fuzz::run(drover::fuzz::manifest_of(data, size), scratch);
  return 0;
}
