// Stop requests from outside: INT, TERM, USR1 and HUP (the terminal is gone; nohup keeps it out) ask the run to finish its step, save and
// end with exit code 75. A second INT, TERM or USR1 ends it at once; HUP never does, since a closing terminal sends several, nor does TERM
// in a Slurm job: Slurm sends it twice within a millisecond when it preempts, and KILL where it means that. While a run lives, PIPE
// is ignored: a reader that ended, a `tee` by the same Ctrl-C say, takes the screen away and not the run.
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
