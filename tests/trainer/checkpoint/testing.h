// A small model's state, cut over ranks at random, and checkpoints of it.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>

#include "kernels/base/hash.h"
#include "tests/trainer/checkpoint/threaded_communicator.h"
#include "trainer/checkpoint/store.h"

namespace drover::checkpoint_testing {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() : path(fs::temp_directory_path() / ("drover_checkpoint_" + std::to_string(getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Directory() { fs::remove_all(path); }
  const fs::path path;
};

struct Tensor {
  std::string array, name;
  Shape shape;
};
inline std::vector<Tensor> model() {
  std::vector<Tensor> all;
  for (const char* array : {"master", "m", "v"})
    for (const auto& [name, shape] :
         {std::pair{"model.embed_tokens.weight", Shape{37, 12}}, std::pair{"model.layers.0.mlp.up_proj.weight", Shape{24, 9}},
          std::pair{"model.norm.weight", Shape{29}}, std::pair{"lm_head.weight", Shape{1, 40}}})
      all.push_back({array, name, shape});
  return all;
}

// Element of a tensor at a step: any bits, not a number now and then.
inline uint32_t bits_at(const Tensor& tensor, int64_t step, int64_t flat) {
  const std::string key = tensor.array + tensor.name + "/" + std::to_string(step) + "/" + std::to_string(flat);
  return static_cast<uint32_t>(xxh3(key));
}

// Every tensor cut into blocks of rows and columns, each block's flat elements cut again, and every part given to some rank.
class Cut {
 public:
  Cut(const std::vector<Tensor>& tensors, uint64_t seed, int ranks) : of_rank(static_cast<size_t>(ranks)), tensors_(tensors) {
    std::mt19937_64 random(seed);
    const auto pick = [&](int64_t below) { return static_cast<int64_t>(random() % static_cast<uint64_t>(below)); };
    for (const Tensor& tensor : tensors_) {
      const bool matrix = tensor.shape.rank == 2;
      const int64_t rows = matrix ? tensor.shape[0] : 1, columns = tensor.shape[matrix ? 1 : 0];
      const int64_t row_cut = pick(rows + 1), column_cut = pick(columns + 1);
      for (const auto& [row, height] : {std::pair{int64_t{0}, row_cut}, std::pair{row_cut, rows - row_cut}})
        for (const auto& [column, width] : {std::pair{int64_t{0}, column_cut}, std::pair{column_cut, columns - column_cut}}) {
          const Shape local = matrix ? Shape{height, width} : Shape{width}, offset = matrix ? Shape{row, column} : Shape{column};
          const int64_t count = matrix ? local.count() : height * width;  // a vector is one row
          for (int64_t begin = 0, end = 0; begin < count; begin = end) {
            end = begin + 1 + pick(count - begin);
            for (const Rectangle& rectangle : rectangles(begin, end, local, offset)) give(pick(ranks), tensor, rectangle);
          }
        }
    }
  }
  Cut(const Cut&) = delete;
  Cut& operator=(const Cut&) = delete;

  void fill(int64_t step) {
    for_each([&](const Tensor& tensor, float& value, int64_t flat) { value = std::bit_cast<float>(bits_at(tensor, step, flat)); });
  }
  bool holds(int64_t step) {
    bool same = true;
    for_each([&](const Tensor& tensor, float& value, int64_t flat) {
      same = same && std::bit_cast<uint32_t>(value) == bits_at(tensor, step, flat);
    });
    return same;
  }

  std::vector<std::vector<Piece>> of_rank;

 private:
  void give(int64_t rank, const Tensor& tensor, const Rectangle& rectangle) {
    storage_.emplace_back(static_cast<size_t>(rectangle.extent.count()));
    of_rank[static_cast<size_t>(rank)].push_back({tensor.array, tensor.name, tensor.shape, rectangle, storage_.back().data()});
  }
  template <class Body> void for_each(Body&& body) {
    for (const auto& pieces : of_rank)
      for (const Piece& piece : pieces) {
        const Tensor tensor{piece.array, piece.name, piece.global};
        const bool matrix = piece.global.rank == 2;
        const int64_t width = piece.rectangle.extent[matrix ? 1 : 0];
        for (int64_t i = 0; i < piece.rectangle.extent.count(); ++i) {
          const int64_t flat =
              matrix ? (piece.rectangle.offset[0] + i / width) * piece.global[1] + piece.rectangle.offset[1] + i % width
                     : piece.rectangle.offset[0] + i;
          body(tensor, piece.data[i], flat);
        }
      }
  }

  std::vector<Tensor> tensors_;
  std::deque<std::vector<float>> storage_;
};

inline RunState state_at(int64_t step) {
  return {.step = step,
          .applied = step - 1,
          .samples_consumed = 8 * step,
          .skipped = 1,
          .skipped_in_row = 0,
          .config_yaml = "a: b\n",
          .tokenizer = "bytes",
          .tokenizer_hash = 0x0123456789abcdef,
          .dataset_hash = 0xfedcba9876543210,
          .build = "test",
          .instruction_set = "none",
          .threads = 2,
          .layout = "dp 1",
          .products = "{}",
          .tokens = 256 * step,
          .order = {.seed = 7,
                    .sources = {{.name = "code", .seed = 0xfedcba9876543210, .tokens = 900, .block = 64},
                                {.name = "web", .seed = 5, .tokens = 1000, .block = 32}},
                    .phases = {{.end = 96, .sequence = 32, .shares = {0, kAllShares}}, {.sequence = 64, .shares = {kAllShares, 0}}},
                    .skip = {{3, 9}, {12, 15}}}};
}

// Takes the lock unless the other does not give it back in 20 seconds: it may have failed. (GCC 12's thread sanitizer does not know the
// system call under try_lock_for.)
inline void take_turn(std::unique_lock<std::mutex>& lock) {
  for (int wait = 0; wait < 20000 && !lock.try_lock(); ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// Saves `cut`, already filled, over as many threads as it has ranks. `hook(rank, stage)` is called at each stage of the save. HDF5 is
// for one thread at a time: ranks take turns from "directory made" to "skeleton made".
template <class Hook> void save(const fs::path& run, Cut& cut, int64_t step, int64_t keep, Hook&& hook) {
  std::mutex turn;
  run_ranks(static_cast<int>(cut.of_rank.size()), [&](Communicator& world) {
    CheckpointStore store(run, world);
    const auto& pieces = cut.of_rank[static_cast<size_t>(world.rank())];
    std::unique_lock lock(turn, std::defer_lock);
    store.on_stage([&](const std::string& stage) {
      hook(world.rank(), stage);
      if (stage == "directory made" && !pieces.empty()) take_turn(lock);
      if (stage == "skeleton made" && lock) lock.unlock();
    });
    store.save(state_at(step), pieces, keep);
  });
}
inline void save(const fs::path& run, int64_t step, int ranks = 2, int64_t keep = 0, uint64_t seed = 1) {
  Cut cut(model(), seed, ranks);
  cut.fill(step);
  save(run, cut, step, keep, [](int, const std::string&) {});
}

// The step of latest_valid, agreed by `ranks` threads; -1: none.
inline int64_t latest_step(const fs::path& run, std::vector<std::string>& report, int ranks = 2) {
  std::vector<int64_t> steps(static_cast<size_t>(ranks), -2);
  std::vector<std::vector<std::string>> reports(steps.size());
  run_ranks(ranks, [&](Communicator& world) {
    CheckpointStore store(run, world);
    const size_t rank = static_cast<size_t>(world.rank());
    const auto info = store.latest_valid(reports[rank]);
    steps[rank] = info ? info->step : -1;
  });
  for (size_t rank = 0; rank < steps.size(); ++rank) {
    EXPECT_EQ(steps[rank], steps[0]);
    EXPECT_EQ(reports[rank], reports[0]);
  }
  report = reports[0];
  return steps[0];
}
inline int64_t latest_step(const fs::path& run) {
  std::vector<std::string> report;
  return latest_step(run, report);
}

// Whether the checkpoint of `step` loads, cut in another way, to the bits that were saved.
inline bool loads(const fs::path& run, int64_t step, uint64_t seed = 77, int ranks = 2) {
  Cut cut(model(), seed, ranks);
  run_ranks(ranks, [&](Communicator& world) {
    CheckpointStore store(run, world);
    char name[32];
    std::snprintf(name, sizeof name, "step_%08d", static_cast<int>(step));
    const CheckpointInfo info = store.verified(run / "checkpoints" / name);
    EXPECT_EQ(info.step, step);
    store.load(info, cut.of_rank[static_cast<size_t>(world.rank())]);
  });
  return cut.holds(step);
}

// The message of the Error that `body` throws.
template <class Body> std::string error_of(ExitCode code, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}
inline void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

inline std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}
inline std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace drover::checkpoint_testing
