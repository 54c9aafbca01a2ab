#include "kernels/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

namespace drover {
namespace {

void carve_three(Arena& arena) {
  arena.carve("weights", "w", DType::f32, {3, 5});
  arena.carve("gradients", "dw", DType::bf16, {129});
  arena.carve("weights", "b", DType::u8, {1});
}

std::string failure(ExitCode code, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Arena, MeasuringCountsWhatABackedArenaHolds) {
  Arena measured;
  carve_three(measured);
  EXPECT_TRUE(measured.measuring());
  EXPECT_EQ(measured.used(), 256 + 512 + 256);
  Arena backed(measured.used(), {});
  carve_three(backed);
  EXPECT_FALSE(backed.measuring());
  EXPECT_EQ(backed.used(), measured.used());
  EXPECT_EQ(backed.used_by("weights"), 512);
  EXPECT_EQ(backed.used_by("gradients"), 512);
  EXPECT_EQ(backed.used_by("nothing"), 0);
  EXPECT_EQ(backed.categories(), (std::vector<std::string>{"weights", "gradients"}));
  ASSERT_EQ(backed.entries().size(), 3u);
  EXPECT_EQ(backed.entries()[1].name, "dw");
  EXPECT_EQ(backed.memory_of(1).data - backed.memory_of(0).data, backed.entries()[0].bytes);
  EXPECT_EQ(backed.memory_of(2).shape, Shape{256});
}

TEST(Arena, TensorsAreZeroedAlignedAndApart) {
  Arena arena(4096, {});
  const TensorView a = arena.carve("x", "a", DType::f32, {65}), b = arena.carve("x", "b", DType::f64, {2});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data) % Arena::kAlignment, 0u);
  EXPECT_EQ(b.data - a.data, 512);
  for (int i = 0; i < 65; ++i) {
    EXPECT_EQ(a.as<float>()[i], 0);
    a.as<float>()[i] = 1;
  }
  EXPECT_EQ(b.as<double>()[0], 0);
}

// The flags of the mapping that begins at `address`, as the system shows them; "" when there is none.
std::string mapping_flags(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  char wanted[32];
  std::snprintf(wanted, sizeof wanted, "%lx-", reinterpret_cast<unsigned long>(address));
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) inside = line.starts_with(wanted);
    if (inside && line.starts_with("VmFlags:")) return line + " ";
  }
  return "";
}

TEST(Arena, AsksForHugePages) {
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) GTEST_SKIP() << "this kernel has none";
  Arena arena(int64_t{5} << 20, {});
  const TensorView all = arena.carve("weights", "w", DType::u8, {int64_t{5} << 20});
  EXPECT_EQ(reinterpret_cast<uintptr_t>(all.data) % (2 << 20), 0u);
  EXPECT_NE(mapping_flags(all.data).find(" hg "), std::string::npos) << mapping_flags(all.data);
}

TEST(Arena, AFrozenArenaCarvesNothing) {
  for (Arena* arena : {std::make_unique<Arena>().release(), std::make_unique<Arena>(1024, Device{}).release()}) {
    const std::unique_ptr<Arena> owner(arena);
    arena->carve("x", "before", DType::u8, {1});
    arena->freeze();
    const std::string message = failure(ExitCode::internal, [&] { arena->carve("x", "late", DType::u8, {1}); });
    EXPECT_NE(message.find("carve of late after the arena was frozen"), std::string::npos) << message;
    EXPECT_EQ(arena->used(), 256);
  }
}

TEST(Arena, AFullArenaSaysWhatWasAskedAndWhatIsLeft) {
  Arena arena(1024, {});
  arena.carve("weights", "w", DType::f32, {128});
  const std::string message = failure(ExitCode::memory, [&] { arena.carve("activations", "x", DType::f32, {129}); });
  EXPECT_NE(message.find("activations/x needs 768 bytes, 512 are left of 1024"), std::string::npos) << message;
  EXPECT_EQ(arena.used(), 512);
  arena.carve("weights", "fits", DType::f32, {128});
}

TEST(Arena, MoreThanTheSystemHasIsAnErrorOfMemory) {
  const int64_t impossible = int64_t{1} << 60;
  EXPECT_NE(failure(ExitCode::memory, [&] { Arena arena(impossible, {}); }).find(std::to_string(impossible)), std::string::npos);
}

TEST(Arena, MovingKeepsTheMemory) {
  Arena first(1024, {});
  const TensorView view = first.carve("x", "a", DType::f32, {4});
  view.as<float>()[0] = 5;
  Arena second = std::move(first);
  Arena third;
  third = std::move(second);
  EXPECT_EQ(view.as<float>()[0], 5);
  EXPECT_EQ(third.used(), 256);
}

}  // namespace
}  // namespace drover
