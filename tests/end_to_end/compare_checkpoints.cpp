#include "tests/end_to_end/compare_checkpoints.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "trainer/checkpoint/store.h"

namespace drover::testing {

double worst_tensor(const std::filesystem::path& a, const std::filesystem::path& b, const std::string& array) {
  double worst = -1;
  for (const TensorDifference& d : compare_checkpoints(a, b))
    if (d.array == array) worst = std::max(worst, d.relative);
  EXPECT_GE(worst, 0) << "no array " << array << " in " << a;
  return worst;
}

void expect_equal_tensors(const std::filesystem::path& a, const std::filesystem::path& b, const std::string& array) {
  int compared = 0;
  for (const TensorDifference& d : compare_checkpoints(a, b)) {
    if (!array.empty() && d.array != array) continue;
    ++compared;
    EXPECT_TRUE(d.equal_bits) << d.array << " of " << d.name << ": relative " << d.relative << ", largest " << d.largest;
  }
  EXPECT_GT(compared, 0) << "no array " << array << " in " << a;
}

}  // namespace drover::testing
