// The template half of threads.h. OpenMP stays in threads.cpp, so that users of parallel_for need no OpenMP flag.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace drover {

namespace detail {

int parts_of(int64_t count, int64_t grain);
void run_parts(int parts, void (*run_part)(void* context, int part), void* context);

}  // namespace detail

template <class Body> void parallel_for(int64_t count, int64_t grain, Body&& body) {
  if (count <= 0) return;
  const int parts = detail::parts_of(count, grain);
  if (parts == 1) {
    body(int64_t{0}, count);
    return;
  }
  struct Context {
    std::remove_reference_t<Body>& body;
    int64_t share, longer;  // the first `longer` parts have one more than `share`
    int64_t begin(int part) const { return part * share + (part < longer ? part : longer); }
  };
  Context context{body, count / parts, count % parts};
  detail::run_parts(
      parts,
      [](void* pointer, int part) {
        const Context& work = *static_cast<Context*>(pointer);
        work.body(work.begin(part), work.begin(part + 1));
      },
      std::addressof(context));
}

}  // namespace drover
