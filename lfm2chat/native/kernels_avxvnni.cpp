// The kernels for AVX2 with VNNI; the build compiles this file for such processors alone.
#define LFM2_AVX2
#define LFM2_AVXVNNI
#define LFM2_NAMESPACE lfm2_avxvnni

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

const Kernels* kernels_avxvnni() { return &lfm2_avxvnni::TABLE; }

}  // namespace lfm2
