// Stop requests from outside: INT, TERM and USR1 ask the run to finish its step, save and end with exit code 75. A second signal, INT or USR1,
// ends it at once. A second TERM does not: a scheduler sends it several times over (Slurm twice within a millisecond when it preempts), and
// KILL after it.
#pragma once

namespace drover {

class StopSignals {
 public:
  StopSignals();   // installs the handlers
  ~StopSignals();  // restores the defaults
  void install();  // again, after a library may have set its own; a request that came before is kept
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  bool requested() const;
};

}  // namespace drover
