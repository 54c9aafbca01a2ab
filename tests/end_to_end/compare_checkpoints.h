// Checkpoints of two runs, compared tensor by tensor.
#pragma once
#include <filesystem>
#include <string>

namespace drover::testing {

// The largest norm(b - a) / norm(a) over the tensors of one array; a test failure when there is none.
double worst_tensor(const std::filesystem::path& a, const std::filesystem::path& b, const std::string& array);

// A test failure for every tensor, of every array or of one, whose bits differ.
void expect_equal_tensors(const std::filesystem::path& a, const std::filesystem::path& b, const std::string& array = "");

}  // namespace drover::testing
