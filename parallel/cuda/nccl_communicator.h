// Collectives of tensors on a GPU by NCCL. The functions are null in programs that were built without it (kernels/cuda/ops.h says how).
//
// A call only enqueues, on its stream, and never waits for the GPU; the first ones of a communicator wait for the other ranks, while NCCL connects
// them. Tensors in host memory, barrier and gather_text go to the inner communicator. Sums are made in an order that NCCL chooses by size
// and topology: the same bits on all ranks and over repeats, others than MPI's.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "kernels/cuda/ops.h"
#include "parallel/communicator.h"

namespace drover::nccl {

// Of the library that is found, "2.28.9". Throws Error(hardware) where none is.
DROVER_CUDA_SIDE std::string version();

struct Membership {
  Device device;                               // this rank's
  std::string place;                           // of this rank, for the messages of all: "rank 3@hostb"
  std::shared_ptr<std::atomic<bool>> failing;  // shared by all groups of the process: who sets it speaks
  double start_seconds = 300;                  // for all ranks to come
};

// `inner`, of the same ranks, must outlive it. Collective. Throws Error(communication) where NCCL cannot connect the ranks, or not in time.
DROVER_CUDA_SIDE std::unique_ptr<Communicator> make_communicator(Communicator& inner, const Membership& membership);

// Whether the program was built with NCCL.
inline bool linked() { return version != nullptr; }

}  // namespace drover::nccl
