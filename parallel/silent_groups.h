// Groups with operations that do nothing: one rank alone can go through its part of a step, to see what it would compute.
#pragma once
#include <memory>
#include <vector>

#include "parallel/world.h"

namespace drover {

class SilentGroups {  // owns what groups() points to
 public:
  explicit SilentGroups(const Groups& like);  // the same ranks, sizes and names
  Groups groups();

 private:
  std::vector<std::unique_ptr<Communicator>> all_;  // in the order of Groups' members
};

}  // namespace drover
