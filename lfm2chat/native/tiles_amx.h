// Sixteen rows of activations by sixteen rows of weights, a group of columns at a time: one tile
// instruction each (Intel AMX: Architecture Instruction Set Extensions Reference, chapter 3).
//
// A packed line holds 4 columns of each row, as the instruction wants them: made signed bytes, and side
// by side, lines are tiles. The integers are those of product.inc, and floats are added in the same
// order: so a row has the same bits by either.
#pragma once

namespace LFM2_NAMESPACE {

using namespace lfm2;

// More than without tiles: what is spread over bytes is for all of these rows.
constexpr int ROWS_AT_ONCE = MOST_ROWS_AT_ONCE;
constexpr int PANELS_AT_ONCE = 4;
constexpr int TILE_ROWS = 16;
constexpr int TILE_COLUMNS = LANES;
constexpr int LINE_BYTES = 64;  // 4 columns of a tile's rows
constexpr bool tiled(int bits) { return bits != 6; }
constexpr int group_columns(int bits) { return bits == 4 ? 32 : 64; }

// What tile_group gives, number by number.
template <int GROUP>
inline void plain_group(const int8_t* a, int64_t a_stride, const int8_t* w, int32_t* sums) {
  for (int row = 0; row < TILE_ROWS; ++row) {
    for (int column = 0; column < TILE_COLUMNS; ++column) {
      int32_t total = 0;
      for (int k = 0; k < GROUP; ++k) {
        total += a[row * a_stride + k] * w[k / 4 * LINE_BYTES + column * 4 + k % 4];
      }
      sums[row * TILE_COLUMNS + column] = total;
    }
  }
}

#if defined(LFM2_TILES_EMULATED)
template <int BITS>
struct TileScope {
  explicit TileScope(int) {}
};

template <int GROUP, int SET>
inline void tile_group(const int8_t* a, int64_t a_stride, const int8_t* w, int32_t* sums) {
  plain_group<GROUP>(a, a_stride, w, sums);
}
#else
// The shapes of this thread's tiles: sums 0 and 1, activations 2 and 3, weights 4 and 5. At the end
// they are given back: a thread that has none is switched faster.
template <int BITS>
class TileScope {
 public:
  explicit TileScope(int rows) : used_(tiled(BITS) && rows >= TILE_ROWS) {
    constexpr int GROUP = group_columns(BITS);
    struct alignas(64) {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, GROUP, GROUP, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, GROUP / 4, GROUP / 4};
    } shapes;
    if (used_) asm volatile("ldtilecfg %0" : : "m"(shapes) : "memory");
  }
  ~TileScope() {
    if (used_) asm volatile("tilerelease" : : : "memory");
  }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  bool used_;
};

// Activations (16, GROUP) by weights (16, GROUP), sixteen integers a row. Two sets of registers, so
// that one product is loaded while the other is made.
#define LFM2_TILE_GROUP(sum, left, right)                                           \
  asm volatile("tilezero %%tmm" #sum "\n\ttileloadd (%0,%1,1), %%tmm" #left         \
               "\n\ttileloadd (%2,%3,1), %%tmm" #right "\n\ttdpbssd %%tmm" #right   \
               ", %%tmm" #left ", %%tmm" #sum "\n\ttilestored %%tmm" #sum ", (%4,%5,1)" \
               :                                                                    \
               : "r"(a), "r"(a_stride), "r"(w), "r"(int64_t{LINE_BYTES}), "r"(sums), \
                 "r"(int64_t{LINE_BYTES})                                           \
               : "memory")
template <int GROUP, int SET>
inline void tile_group(const int8_t* a, int64_t a_stride, const int8_t* w, int32_t* sums) {
  if constexpr (SET == 0) {
    LFM2_TILE_GROUP(0, 2, 4);
  } else {
    LFM2_TILE_GROUP(1, 3, 5);
  }
}
#undef LFM2_TILE_GROUP
#endif

// Bytes of one side of a block, once its weights are signed bytes.
constexpr int SIDE_BYTES = BLOCK_COLUMNS * TILE_COLUMNS;

template <int BITS>
constexpr size_t packed_block() {
  return level_bytes(BITS) +
         size_t{BLOCK_COLUMNS} / group_columns(BITS) * PANEL_ROWS * scale_bytes(BITS);
}

// `n_blocks` blocks of weights as signed bytes: (blocks, sides, lines, 64).
template <int BITS>
inline void spread_lines(const uint8_t* from, int n_blocks, int8_t* to) {
  for (int block = 0; block < n_blocks; ++block, from += packed_block<BITS>()) {
    for (int side = 0; side < 2; ++side) {
      const uint8_t* line = from + side * LINE_BYTES;
      for (int8_t* end = to + SIDE_BYTES; to < end; line += 2 * LINE_BYTES) {
        if constexpr (BITS == 8) {
          for (int i = 0; i < LINE_BYTES; ++i) to[i] = static_cast<int8_t>(line[i] ^ 0x80);
          to += LINE_BYTES;
        } else {
          for (int i = 0; i < LINE_BYTES; ++i) to[i] = static_cast<int8_t>((line[i] & 15) - 8);
          to += LINE_BYTES;
          for (int i = 0; i < LINE_BYTES; ++i) to[i] = static_cast<int8_t>((line[i] >> 4) - 8);
          to += LINE_BYTES;
        }
      }
    }
  }
}

// On to the next row: as a step, since compilers make sixteen pointers of sixteen sums, more than a
// processor has registers for (a twelfth of a product's time).
inline void step_on(const GroupScale*& scale, int64_t stride) {
  scale += stride;
#if defined(__GNUC__)
  asm volatile("" : "+r"(scale));
#endif
}

// As `tile` in product.inc, for sixteen rows. `w` are the packed blocks, for their scales, `lines` the
// same blocks by spread_lines. With AHEAD, the packed blocks after these are asked for.
template <int BITS, bool AHEAD>
inline void tile_sums(const uint8_t* w, const int8_t* lines, int n_blocks, const int8_t* a,
                      int64_t a_stride, const GroupScale* s, int64_t s_stride, float* sums,
                      bool begin) {
  constexpr int GROUP = group_columns(BITS);
  constexpr int GROUPS = BLOCK_COLUMNS / GROUP;
  constexpr int SCALES = PANEL_ROWS * scale_bytes(BITS);
  constexpr size_t PACKED = packed_block<BITS>();
  alignas(64) int32_t parts[GROUPS][TILE_ROWS * TILE_COLUMNS];
  for (int side = 0; side < 2; ++side) {
    F total[TILE_ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < TILE_ROWS; ++r) {
      total[r] = begin ? spread(0.0f) : load(sums + r * PANEL_ROWS + side * LANES);
    }
    for (int block = 0; block < n_blocks; ++block) {
      const int8_t* own_lines = lines + (2 * block + side) * SIDE_BYTES;
      const int8_t* own_a = a + block * BLOCK_COLUMNS;
      for (int g = 0; g < GROUPS; g += 2) {
        constexpr int TILE_BYTES = GROUP * TILE_COLUMNS;
        tile_group<GROUP, 0>(own_a + g * GROUP, a_stride, own_lines + g * TILE_BYTES, parts[g]);
        tile_group<GROUP, 1>(own_a + (g + 1) * GROUP, a_stride, own_lines + (g + 1) * TILE_BYTES,
                             parts[g + 1]);
      }
      if (AHEAD && side == 0) {
        const uint8_t* after = w + (n_blocks + block) * PACKED;
        for (size_t at = 0; at < PACKED; at += 64) prefetch_second(after + at);
      }
      const uint8_t* scales = w + block * PACKED + level_bytes(BITS) + side * (SCALES / 2);
      for (int g = 0; g < GROUPS; ++g) {
        const F scale = load_scales<BITS>(scales + g * SCALES);
        const GroupScale* own = s + block * GROUPS + g;
#pragma GCC unroll 16
        for (int r = 0; r < TILE_ROWS; ++r) {
          I part;
          std::memcpy(&part, parts[g] + r * TILE_COLUMNS, sizeof part);
          const F level = mul(to_float(part), scale);
          total[r] = fma(level, spread(own->scale), total[r]);
          step_on(own, s_stride);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < TILE_ROWS; ++r) store(sums + r * PANEL_ROWS + side * LANES, total[r]);
  }
}

// As many of `rows` as are whole tiles, by `n_blocks` blocks of a panel: how many those are.
template <int BITS>
inline int whole_tiles(const Activations& a, int rows, const uint8_t* w, int n_blocks, float* sums,
                       bool begin) {
  if constexpr (!tiled(BITS)) return 0;
  if (rows < TILE_ROWS) return 0;
  alignas(64) int8_t lines[K_BLOCKS * 2 * SIDE_BYTES];
  spread_lines<BITS>(w, n_blocks, lines);
  int row = 0;
  for (; row + TILE_ROWS <= rows; row += TILE_ROWS) {
    const auto run = row == 0 ? tile_sums<BITS, true> : tile_sums<BITS, false>;
    run(w, lines, n_blocks, a.levels + row * a.stride, a.stride, a.scales + row * a.scale_stride,
        a.scale_stride, sums + row * PANEL_ROWS, begin);
  }
  return row;
}

// Whether tile_group gives here what plain_group gives.
template <int BITS>
inline bool tiles_agree() {
  constexpr int GROUP = group_columns(BITS), STRIDE = 192;
  int8_t a[TILE_ROWS * STRIDE];
  int8_t w[GROUP / 4 * LINE_BYTES];
  uint32_t state = 1;
  const auto next = [&state] { return (state = state * 1664525u + 1013904223u) >> 24; };
  for (int8_t& one : a) one = static_cast<int8_t>(next());
  for (int8_t& one : w) one = static_cast<int8_t>(next());
  int32_t expected[TILE_ROWS * TILE_COLUMNS], found[2][TILE_ROWS * TILE_COLUMNS];
  const TileScope<BITS> scope(TILE_ROWS);
  plain_group<GROUP>(a, STRIDE, w, expected);
  tile_group<GROUP, 0>(a, STRIDE, w, found[0]);
  tile_group<GROUP, 1>(a, STRIDE, w, found[1]);
  return std::memcmp(expected, found[0], sizeof expected) == 0 &&
         std::memcmp(expected, found[1], sizeof expected) == 0;
}

}  // namespace LFM2_NAMESPACE
