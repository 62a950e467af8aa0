// The kernels for AVX-512 with VNNI, but for products, which take many rows in tiles (Intel AMX). The
// instructions of tiles are written as they are, so an assembler that does not know them fails: then
// the build compiles this file again, with LFM2_NO_TILES.
#if !defined(LFM2_TILES_EMULATED)
#define LFM2_AVX512
#endif
#define LFM2_NAMESPACE lfm2_amx

#include "kernels.h"
#include "simd.h"
#if defined(LFM2_NO_TILES)
#include "tiles_none.h"
#else
#include "tiles_amx.h"
#endif
// These first: it is written in their terms.
#include "product.inc"

#if defined(__linux__) && !defined(LFM2_NO_TILES) && !defined(LFM2_TILES_EMULATED)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define LFM2_ASKS_FOR_TILES
#endif

namespace lfm2 {

const Kernels* kernels_amx() {
  static const Kernels own = [] {
    Kernels table = *kernels_avx512();
    table.product = lfm2_amx::product;
    return table;
  }();
  return &own;
}

#if defined(LFM2_ASKS_FOR_TILES)
namespace {

// The processor has tiles of integers, the system gives them to this process (its threads' states
// grow by 8 KB), and they count right.
bool ask_for_tiles() {
  constexpr unsigned TILES = 1u << 24, INTEGERS = 1u << 25;
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if ((d & TILES) == 0 || (d & INTEGERS) == 0) return false;
  if (syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) != 0) return false;
  return lfm2_amx::tiles_agree<8>() && lfm2_amx::tiles_agree<4>();
}

}  // namespace

bool tiles_ready() {
  static const bool ready = ask_for_tiles();
  return ready;
}
#else
bool tiles_ready() { return false; }
#endif

}  // namespace lfm2
