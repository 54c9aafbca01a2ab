// The algorithms of a run's matrix products as text: RUN/products.json, and the same in each checkpoint (docs/run_directory.md). One JSON object
// with a line for each product.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "kernels/gemm_algorithms.h"

namespace drover {

struct ProductChoice {
  TimedAlgorithm timed;
  int rank = 0;  // that timed it
};

struct ProductChoices {
  std::string library, gpu;  // of rank 0, that the algorithms are for: "cuBLASLt 13.1.0", "NVIDIA H100 80GB HBM3"
  std::map<GemmShape, ProductChoice> products;
};

std::string to_json(const ProductChoices& choices);
// Throws Error(resume) that says what is wrong with the text: cut off, a field that is missing or no sound value, a product named twice.
ProductChoices choices_from_json(const std::string& text);

// Shapes alone: a JSON array.
std::string to_json(const std::vector<GemmShape>& shapes);
std::vector<GemmShape> shapes_from_json(const std::string& text);  // throws as above

}  // namespace drover
