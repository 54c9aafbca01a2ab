// Which parameters a rank holds: one flat buffer a unit (embedding, each block, head), each logical parameter a rectangle of it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "trainer/model/shape.h"

namespace drover {

enum class Init : uint8_t { zeros, ones, normal };

struct Parameter {
  std::string name;  // Hugging Face's logical name
  Shape global;      // the logical tensor, without padding
  Shape local;       // this rank's part, padding of the vocabulary included
  Shape offset;      // of the part in the (padded) logical tensor
  Init init = Init::normal;
  double deviation = 0;  // standard deviation of Init::normal
  bool decay = true;
  bool product = false;     // its gradient is a matrix product, written by a step's first micro-batch: it need not be zeroed before
  bool replicated = false;  // every tp rank holds the whole of it, and a partial sum of its gradient
  int64_t begin = 0;        // first element in the unit's flat buffer
  int64_t valid = 0;        // elements from `begin` that are not padding
};

struct Unit {
  std::string name;
  std::vector<Parameter> parameters;  // q, k, v and gate, up lie side by side, so that one product spans them
  int64_t count = 0;                  // elements of the flat buffer, gaps for alignment included
  int64_t replicated = 0;             // the first elements hold the replicated parameters: one all-reduce sums their gradients
  bool tied = false;  // the embedding that also is the head: first and last stage hold it, and their gradients are summed
  bool owner = true;  // false: the last stage's copy, not counted, saved or measured

  // The parameter whose logical name ends with `suffix`: "q_proj.weight". Throws Error(internal) when none or several do.
  const Parameter& parameter(std::string_view suffix) const;
};

// `head`: on this stage it is the head too.
Unit embedding_unit(const Config& config, const ModelShape& shape, bool head);
Unit block_unit(const Config& config, const ModelShape& shape, int64_t layer, int tp_coordinate);
Unit head_unit(const Config& config, const ModelShape& shape);

struct StageUnits {
  std::vector<Unit> units;  // executed in this order; after them, a tied embedding's copy
  int executed = 0;
  int embedding = -1;  // index of the unit that holds the embedding, or -1
  bool first = false, last = false;
};

StageUnits stage_units(const Config& config, const Mesh& mesh, int rank);

}  // namespace drover
