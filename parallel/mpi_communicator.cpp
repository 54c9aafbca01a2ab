#include "parallel/mpi_communicator.h"

#include <algorithm>
#include <cstring>

namespace drover {
namespace {

constexpr int64_t kPiece = int64_t{4} << 20;  // bytes of one MPI call: large enough for full bandwidth, far below int counts

MPI_Datatype type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return MPI_FLOAT;
    case DType::f64: return MPI_DOUBLE;
    case DType::i32: return MPI_INT32_T;
    case DType::bf16: return MPI_UINT16_T;
    case DType::u8: return MPI_UINT8_T;
  }
  return MPI_BYTE;
}

// MPI has no bf16: two-byte words, combined in f32 and rounded after each step.
template <class Combine> void combine_bf16(void* in, void* inout, int* count, Combine&& combine) {
  const Bf16* from = static_cast<const Bf16*>(in);
  Bf16* to = static_cast<Bf16*>(inout);
  for (int i = 0; i < *count; ++i) to[i] = Bf16(combine(static_cast<float>(to[i]), static_cast<float>(from[i])));
}
void sum_bf16(void* in, void* inout, int* count, MPI_Datatype*) {
  combine_bf16(in, inout, count, [](float a, float b) { return a + b; });
}
void max_bf16(void* in, void* inout, int* count, MPI_Datatype*) {
  combine_bf16(in, inout, count, [](float a, float b) { return a < b ? b : a; });
}
void min_bf16(void* in, void* inout, int* count, MPI_Datatype*) {
  combine_bf16(in, inout, count, [](float a, float b) { return b < a ? b : a; });
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm communicator, std::string name, bool owned)
    : communicator_(communicator), name_(std::move(name)), owned_(owned) {
  MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
  check(MPI_Comm_rank(communicator_, &rank_), "rank");
  check(MPI_Comm_size(communicator_, &size_), "size");
  check(MPI_Op_create(sum_bf16, 1, &bf16_sum_), "operation");
  check(MPI_Op_create(max_bf16, 1, &bf16_max_), "operation");
  check(MPI_Op_create(min_bf16, 1, &bf16_min_), "operation");
  staging_.resize(static_cast<size_t>(kPiece));
}

MpiCommunicator::~MpiCommunicator() {
  for (MPI_Op* op : {&bf16_sum_, &bf16_max_, &bf16_min_}) MPI_Op_free(op);
  if (owned_) MPI_Comm_free(&communicator_);
}

void MpiCommunicator::check(int code, const char* operation) const {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ExitCode::communication, "communicator " + name_ + ", rank " + std::to_string(rank_) + " of " +
                                           std::to_string(size_) + ": " + operation +
                                           " failed: " + std::string(text, static_cast<size_t>(length)));
}

Timed MpiCommunicator::count(int64_t bytes) {
  totals_.calls += 1;
  totals_.bytes += bytes;
  return Timed(totals_.seconds);
}

MPI_Op MpiCommunicator::operation(DType dtype, ReduceOp op) const {
  if (dtype == DType::bf16) return op == ReduceOp::sum ? bf16_sum_ : op == ReduceOp::max ? bf16_max_ : bf16_min_;
  return op == ReduceOp::sum ? MPI_SUM : op == ReduceOp::max ? MPI_MAX : MPI_MIN;
}

void MpiCommunicator::all_reduce(Stream&, TensorView inout, ReduceOp op) {
  const Timed timed = count(inout.bytes());
  const int64_t piece = kPiece / size_of(inout.dtype);
  for (int64_t begin = 0; begin < inout.count(); begin += piece)
    check(MPI_Allreduce(MPI_IN_PLACE, inout.data + begin * size_of(inout.dtype),
                        static_cast<int>(std::min(piece, inout.count() - begin)), type_of(inout.dtype), operation(inout.dtype, op),
                        communicator_),
          "all_reduce");
}

void MpiCommunicator::all_gather(Stream&, TensorView full) {
  DROVER_CHECK(full.count() % size_ == 0,
               name_ + ": all_gather of " + to_string(full.shape) + " over " + std::to_string(size_) + " ranks");
  const int64_t slice = full.bytes() / size_;
  const Timed timed = count(slice);
  // One call gathers a piece of every slice; slices lie `slice` bytes apart, which a resized type says.
  for (int64_t begin = 0; begin < slice; begin += kPiece) {
    const int bytes = static_cast<int>(std::min(kPiece, slice - begin));
    MPI_Datatype piece, spaced;
    check(MPI_Type_contiguous(bytes, MPI_BYTE, &piece), "all_gather");
    check(MPI_Type_create_resized(piece, 0, slice, &spaced), "all_gather");
    check(MPI_Type_commit(&spaced), "all_gather");
    const int code = MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, full.data + begin, 1, spaced, communicator_);
    MPI_Type_free(&spaced);
    MPI_Type_free(&piece);
    check(code, "all_gather");
  }
}

void MpiCommunicator::reduce_scatter(Stream&, TensorView full) {
  DROVER_CHECK(full.count() % size_ == 0,
               name_ + ": reduce_scatter of " + to_string(full.shape) + " over " + std::to_string(size_) + " ranks");
  const int64_t width = size_of(full.dtype), slice = full.count() / size_;
  const int64_t piece = std::max<int64_t>(1, kPiece / (size_ * width));
  const Timed timed = count(full.bytes());
  if (static_cast<int64_t>(staging_.size()) < piece * size_ * width) staging_.resize(static_cast<size_t>(piece * size_ * width));
  for (int64_t begin = 0; begin < slice; begin += piece) {
    const int64_t part = std::min(piece, slice - begin);
    for (int64_t r = 0; r < size_; ++r)
      std::memcpy(staging_.data() + r * part * width, full.data + (r * slice + begin) * width, static_cast<size_t>(part * width));
    check(MPI_Reduce_scatter_block(MPI_IN_PLACE, staging_.data(), static_cast<int>(part), type_of(full.dtype),
                                   operation(full.dtype, ReduceOp::sum), communicator_),
          "reduce_scatter");
    std::memcpy(full.data + (rank_ * slice + begin) * width, staging_.data(), static_cast<size_t>(part * width));
  }
}

void MpiCommunicator::broadcast(Stream&, TensorView inout, int root) {
  const Timed timed = count(rank_ == root ? inout.bytes() : 0);
  for (int64_t begin = 0; begin < inout.bytes(); begin += kPiece)
    check(MPI_Bcast(inout.data + begin, static_cast<int>(std::min(kPiece, inout.bytes() - begin)), MPI_BYTE, root, communicator_),
          "broadcast");
}

void MpiCommunicator::send(Stream&, ConstTensorView data, int to) {
  const Timed timed = count(data.bytes());
  for (int64_t begin = 0; begin < data.bytes(); begin += kPiece)
    check(MPI_Send(data.data + begin, static_cast<int>(std::min(kPiece, data.bytes() - begin)), MPI_BYTE, to, 0, communicator_),
          "send");
}

void MpiCommunicator::recv(Stream&, TensorView data, int from) {
  const Timed timed = count(0);
  for (int64_t begin = 0; begin < data.bytes(); begin += kPiece)
    check(MPI_Recv(data.data + begin, static_cast<int>(std::min(kPiece, data.bytes() - begin)), MPI_BYTE, from, 0, communicator_,
                   MPI_STATUS_IGNORE),
          "recv");
}

void MpiCommunicator::barrier() { check(MPI_Barrier(communicator_), "barrier"); }

std::vector<std::string> MpiCommunicator::gather_text(const std::string& mine) {
  const size_t ranks = static_cast<size_t>(size_);
  std::vector<int> lengths(ranks), starts(ranks, 0);
  const int length = static_cast<int>(mine.size());
  check(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, communicator_), "gather_text");
  for (size_t r = 1; r < ranks; ++r) starts[r] = starts[r - 1] + lengths[r - 1];
  std::string all(static_cast<size_t>(starts.back() + lengths.back()), '\0');
  check(MPI_Allgatherv(mine.data(), length, MPI_CHAR, all.data(), lengths.data(), starts.data(), MPI_CHAR, communicator_),
        "gather_text");
  std::vector<std::string> texts;
  for (size_t r = 0; r < ranks; ++r) texts.push_back(all.substr(static_cast<size_t>(starts[r]), static_cast<size_t>(lengths[r])));
  return texts;
}

}  // namespace drover
