// The kernels for AVX2 with FMA; the build compiles this file for such processors alone.
#define LFM2_AVX2
#define LFM2_NAMESPACE lfm2_avx2

#include "kernels.h"
#include "simd.h"
#include "tiles_none.h"
// These first: they are written in their terms.
#include "attention.inc"
#include "product.inc"
#include "rows.inc"
#include "scales.inc"
#include "table.inc"

namespace lfm2 {

const Kernels* kernels_avx2() { return &lfm2_avx2::TABLE; }

}  // namespace lfm2
