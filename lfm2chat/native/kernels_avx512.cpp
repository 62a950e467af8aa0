// The kernels for AVX-512 with VNNI; the build compiles this file for such processors alone.
#define LFM2_AVX512
#define LFM2_NAMESPACE lfm2_avx512

#include "kernels.h"
#include "simd.h"
// simd.h first: the three are written in its terms.
#include "attention.inc"
#include "product.inc"
#include "rows.inc"

namespace lfm2 {

const Kernels* kernels_avx512() {
  static const Kernels table = {"avx512",           lfm2_avx512::norm,    lfm2_avx512::quantize,
                                lfm2_avx512::product, lfm2_avx512::rotate,  lfm2_avx512::to_bf16,
                                lfm2_avx512::embed,   lfm2_avx512::attend,  lfm2_avx512::read};
  return &table;
}

}  // namespace lfm2
