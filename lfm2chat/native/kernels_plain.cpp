// The kernels for any processor; the build compiles this file for such processors alone.
#define LFM2_NAMESPACE lfm2_plain

#include "kernels.h"
#include "simd.h"
// simd.h first: the three are written in its terms.
#include "attention.inc"
#include "product.inc"
#include "rows.inc"

namespace lfm2 {

const Kernels* kernels_plain() {
  static const Kernels table = {"plain",           lfm2_plain::norm,    lfm2_plain::quantize,
                                lfm2_plain::product, lfm2_plain::rotate,  lfm2_plain::to_bf16,
                                lfm2_plain::embed,   lfm2_plain::attend,  lfm2_plain::read};
  return &table;
}

}  // namespace lfm2
