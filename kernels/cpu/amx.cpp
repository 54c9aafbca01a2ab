#include "kernels/cpu/amx.h"

#ifdef DROVER_AMX
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace drover::cpu {
namespace {

bool processor_has_them() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kOsxsave = 1u << 27, kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsxsave) == 0) return false;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
  constexpr unsigned kTileState = 3u << 17;  // XTILECFG and XTILEDATA, which the kernel must save
  asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & kTileState) == kTileState;
}

// Linux lets a process use tiles when it asks (Documentation/arch/x86/xstate.rst).
bool kernel_allows_them() {
#ifdef __linux__
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

}  // namespace

bool AmxTiles::available() {
  static const bool they_are = processor_has_them() && kernel_allows_them();
  return they_are;
}

void AmxTiles::begin() {
  static constexpr TileConfiguration kWhole;
  asm volatile("ldtilecfg %0" : : "m"(kWhole));
}

void AmxTiles::end() { asm volatile("tilerelease"); }

}  // namespace drover::cpu

#endif
