#include "parallel/silent_groups.h"

#include "parallel/silent_communicator.h"

namespace drover {

SilentGroups::SilentGroups(const Groups& like) {
  for (const Communicator* group : {&like.world, &like.tp, &like.pp, &like.shard, &like.replicate, &like.tied})
    all_.push_back(std::make_unique<SilentCommunicator>(group->rank(), group->size(), group->name()));
}

Groups SilentGroups::groups() { return {*all_[0], *all_[1], *all_[2], *all_[3], *all_[4], *all_[5]}; }

}  // namespace drover
