// Products of many rows in tiles, as on a processor that has them, with each tile instruction done in
// plain C++: what test_tiles.py builds.
#define LFM2_TILES_EMULATED
#include "kernels_amx.cpp"
#include "rows.inc"

#include <vector>

namespace lfm2 {

const Kernels* kernels_avx512() {
  static const Kernels none{};
  return &none;
}

}  // namespace lfm2

extern "C" __attribute__((visibility("default"))) void tiled_product(
    const lfm2::Matrix* m, const float* x, int rows, int columns, float* out) {
  const int64_t stride = m->columns + 64, groups = m->columns / m->group;
  std::vector<int8_t> levels(rows * stride);
  std::vector<lfm2::GroupScale> scales(rows * groups);
  for (int row = 0; row < rows; ++row) {
    lfm2_amx::quantize(x + size_t(row) * columns, &levels[row * stride], &scales[row * groups],
                       columns, m->columns, m->group, m->bits);
  }
  std::vector<float> sums(lfm2::sum_floats(rows));
  lfm2::kernels_amx()->product(*m, {levels.data(), scales.data(), stride, groups}, rows, 0,
                               lfm2::panels(*m), {out, m->rows, lfm2::Finish::STORE, m->rows},
                               sums.data());
}
