// The kernels for any processor; the build compiles this file for such processors alone.
#define LFM2_NAMESPACE lfm2_plain

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

const Kernels* kernels_plain() { return &lfm2_plain::TABLE; }

}  // namespace lfm2
