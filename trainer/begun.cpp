#include "trainer/begun.h"

#include "trainer/build_info.h"
#include "trainer/resume.h"

namespace drover {

RunState Begun::state() const {
  RunState state;
  const Config& config = prepared.config;
  state.config_yaml = to_yaml(config);
  state.tokenizer = prepared.train->tokenizer();
  state.tokenizer_hash = prepared.train->tokenizer_hash();
  state.dataset_hash = prepared.train->hash();
  state.build = build_id();
  const bool any_order = choice.device.type == DeviceType::cuda && !config.train.deterministic_attention;
  state.instruction_set = arithmetic_of(choice.device) + (any_order ? ", attention not deterministic" : "");
  state.threads = config.run.threads;
  state.layout = layout_text(config.parallel);
  state.order = order().spec();
  return state;
}

Loader::Options loader_options(const Config& config, const Mesh& mesh, int rank, const std::vector<LossWeight>& loss_weights,
                               bool shuffle) {
  return {.global_batch = config.train.global_batch,
          .micro_batch = config.train.micro_batch,
          .sequence = config.train.sequence,
          .seed = config.train.seed,
          .dp_rank = mesh.dp_coordinate(rank),
          .dp_size = mesh.dp(),
          .document_mask = config.data.document_mask,
          .max_documents = config.data.max_documents_per_sample,
          .loss_weights = loss_weights,
          .shuffle = shuffle};
}

}  // namespace drover
