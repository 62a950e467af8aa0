// What tiles_amx.h has, for processors without tiles.
#pragma once

namespace LFM2_NAMESPACE {

// Rows and panels that are multiplied by each other before others are, so that both stay in the second
// cache: all of a prompt by one panel after the other is a tenth slower on a Xeon of 2023.
constexpr int ROWS_AT_ONCE = 48;
constexpr int PANELS_AT_ONCE = 8;

template <int BITS>
struct TileScope {
  explicit TileScope(int) {}
};

template <int BITS>
inline int whole_tiles(const lfm2::Activations&, int, const uint8_t*, int, float*, bool) {
  return 0;
}

}  // namespace LFM2_NAMESPACE
