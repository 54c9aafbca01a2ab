// NCCL's functions, looked up when they are first called: hundreds of megabytes that only ranks with GPUs need.
#include <nccl.h>

#include "kernels/cuda/lazy_library.h"

DROVER_LAZY_LIBRARY("libnccl.so", NCCL_MAJOR, "NCCL for collectives")

extern "C" {

ncclResult_t ncclGetVersion(int* version) { DROVER_CALL(ncclGetVersion, version); }
const char* ncclGetErrorString(ncclResult_t result) { DROVER_CALL(ncclGetErrorString, result); }
const char* ncclGetLastError(ncclComm_t comm) { DROVER_CALL(ncclGetLastError, comm); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { DROVER_CALL(ncclGetUniqueId, id); }
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  DROVER_CALL(ncclCommInitRankConfig, comm, ranks, id, rank, config);
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) { DROVER_CALL(ncclCommGetAsyncError, comm, state); }
ncclResult_t ncclCommFinalize(ncclComm_t comm) { DROVER_CALL(ncclCommFinalize, comm); }
ncclResult_t ncclCommDestroy(ncclComm_t comm) { DROVER_CALL(ncclCommDestroy, comm); }
ncclResult_t ncclCommAbort(ncclComm_t comm) { DROVER_CALL(ncclCommAbort, comm); }

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                           cudaStream_t stream) {
  DROVER_CALL(ncclAllReduce, from, to, count, type, op, comm, stream);
}
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream) {
  DROVER_CALL(ncclAllGather, from, to, count, type, comm, stream);
}
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm,
                               cudaStream_t stream) {
  DROVER_CALL(ncclReduceScatter, from, to, count, type, op, comm, stream);
}
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  DROVER_CALL(ncclBroadcast, from, to, count, type, root, comm, stream);
}
ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  DROVER_CALL(ncclSend, from, count, type, peer, comm, stream);
}
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  DROVER_CALL(ncclRecv, to, count, type, peer, comm, stream);
}

}  // extern "C"
