// A checkpoint's manifest, and reading tensors by it. Input: see guarded(); the rest is manifest.pb. The one data file that there is holds
// 4096 bytes of zeros, under the name that the corpus uses.
#include <map>

#include "tests/fuzz/fuzz.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/store.h"

namespace drover::fuzz {
namespace {

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

void run(Guarded input, const Scratch& scratch) {
  const std::filesystem::path run = scratch.path / "run", checkpoint = run / "checkpoints/step_00000001";
  if (!std::filesystem::exists(checkpoint)) {
    std::filesystem::create_directories(checkpoint);
    scratch.write("run/checkpoints/step_00000001/rank_00000.h5", std::string(4096, '\0'));
  }
  if (input.repair) {
    const uint64_t hash = xxh3(input.bytes);
    input.bytes.resize(input.bytes.size() + sizeof hash);
    put_hash(input.bytes, input.bytes.size() - sizeof hash, hash);
  }
  scratch.write("run/checkpoints/step_00000001/manifest.pb", input.bytes);
  const bool sound = accepted(ExitCode::resume, [&] { load_manifest(checkpoint); });
  const std::vector<CheckpointInfo> all = list_checkpoints(run);
  require(all.size() == 1 && all.front().problem.empty() == sound, "the list says otherwise");
  verify_checkpoint(checkpoint);
  accepted(ExitCode::resume, [&] { describe_checkpoint(checkpoint); });
  accepted(ExitCode::resume, [&] { compare_checkpoints(checkpoint, checkpoint); });
  if (sound) load_tensors(checkpoint);
}

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const drover::fuzz::Scratch scratch;
  drover::fuzz::run(drover::fuzz::guarded(data, size), scratch);
  return 0;
}
