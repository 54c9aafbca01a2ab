// A look at the data of a run before it starts, for `drover data audit`: what would end the run (files that do not open, ids beyond the
// vocabulary), and what would spoil it quietly (repeated text, too many epochs, short steps). Every token is read once; memory is bounded.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "configs/config.h"

namespace drover {

struct AuditLimits {
  int64_t longest = 3;             // documents that are listed
  int64_t documents = 1000;        // of the sample of a source, evenly spaced: number j of n among D is document j D / n
  int64_t document_tokens = 4096;  // that are looked at of each, from its beginning
  int64_t columns = 60;            // of the mixture over the run
};

struct AuditDocument {
  int64_t tokens = 0;
  std::string shard;
  int64_t first = 0;  // index in the shard of its first token
};

// Of the sample's n-grams, n = 13, each at its place: those that come again in their document, and those that another one has, too.
struct AuditRepetition {
  static constexpr int64_t kGram = 13;
  int64_t documents = 0, grams = 0, within = 0, across = 0;
};

struct AuditSource {
  std::string name;
  int64_t shards = 0, tokens = 0, documents = 0;
  int64_t outside = 0;  // ids of model.vocab or more; for each shard with some, one of `problems` names the first
  std::vector<AuditDocument> longest;
  AuditRepetition repetition;
  double epochs = 0;                 // that the run reads
  std::vector<double> phase_epochs;  // of them in each phase that it comes to
};

// A step before a phase of another sequence that could not fill its slots.
struct AuditShortStep {
  int64_t step = 0, filled = 0, sequence = 0;
};

struct AuditRun {
  int64_t samples = 0, tokens = 0;  // tokens: without skipped samples
  std::vector<AuditShortStep> short_steps;
  double empty_share = 0;  // tokens of empty slots among those of all slots
  std::vector<std::vector<double>>
      shares;  // [source][column] of the column's samples; a column begins with the sample at its part of the run's tokens
  std::vector<int> phases;  // [column]: the phase in which it begins
};

struct Audit {
  std::vector<AuditSource> sources;   // by name
  std::optional<AuditRun> run;        // where all sources open
  std::vector<std::string> problems;  // each would end the run
};

// `read` is told of each shard whose tokens were looked at.
Audit audit_data(const Config& config, const AuditLimits& limits,
                 const std::function<void(const std::string& shard, int64_t tokens)>& read);

// "▂▂▅█", shares in eighths; what is above 0 has one at least.
std::string eighths(const std::vector<double>& shares);

}  // namespace drover
