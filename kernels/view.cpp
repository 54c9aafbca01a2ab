#include "kernels/view.h"

namespace drover {

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int dim = 0; dim < shape.rank; ++dim) text += (dim ? ", " : "") + std::to_string(shape[dim]);
  return text + "]";
}

}  // namespace drover
