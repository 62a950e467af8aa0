// The kernels for AVX2 with FMA; the build compiles this file for such processors alone.
#define LFM2_AVX2
#define LFM2_NAMESPACE lfm2_avx2

#include "kernels.h"
#include "simd.h"
// simd.h first: the three are written in its terms.
#include "attention.inc"
#include "product.inc"
#include "rows.inc"

namespace lfm2 {

const Kernels* kernels_avx2() {
  static const Kernels table = {"avx2",           lfm2_avx2::norm,    lfm2_avx2::quantize,
                                lfm2_avx2::product, lfm2_avx2::rotate,  lfm2_avx2::to_bf16,
                                lfm2_avx2::embed,   lfm2_avx2::attend,  lfm2_avx2::read};
  return &table;
}

}  // namespace lfm2
