// Runs a fuzz target on every file of a corpus, once: what was found stays found, in builds without libFuzzer too.
#include "tests/fuzz/fuzz.h"

#include "kernels/base/files.h"

int main(int count, char** directories) {
  int files = 0;
  for (int i = 1; i < count; ++i)
    for (const auto& entry : std::filesystem::directory_iterator(directories[i])) {
      const std::string bytes = drover::read_text(entry.path());
      std::printf("%s\n", entry.path().c_str());
      std::fflush(stdout);
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      ++files;
    }
  std::printf("%d inputs, of which the reader took some %lld times\n", files,
              static_cast<long long>(drover::fuzz::accepted_inputs));
  // Where nothing is ever taken, what stands before the reader refuses all, and the target tests nothing.
  return files > 0 && drover::fuzz::accepted_inputs > 0 ? 0 : 1;
}
