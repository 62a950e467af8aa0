// The kernels for AVX2 with VNNI; the build compiles this file for such processors alone.
#define LFM2_AVX2
#define LFM2_AVXVNNI
#define LFM2_NAMESPACE lfm2_avxvnni

#include "kernels.h"
#include "simd.h"
// simd.h first: the three are written in its terms.
#include "attention.inc"
#include "product.inc"
#include "rows.inc"

namespace lfm2 {

const Kernels* kernels_avxvnni() {
  static const Kernels table = {"avxvnni",           lfm2_avxvnni::norm,    lfm2_avxvnni::quantize,
                                lfm2_avxvnni::product, lfm2_avxvnni::rotate,  lfm2_avxvnni::to_bf16,
                                lfm2_avxvnni::embed,   lfm2_avxvnni::attend,  lfm2_avxvnni::read};
  return &table;
}

}  // namespace lfm2
