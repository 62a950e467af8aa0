// What one kind of processor offers: the kernels of a forward pass, as a table of functions.
//
// Letters as in lfm2chat/engine/model.py. All pointers are the caller's; nothing is allocated.
// What is inline here is static: each kind has its own copy, in its own instructions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lfm2 {

// Weights, packed. Rows come in panels of 32; within a panel, blocks of 128 columns; within a
// block lines of 128 bytes, 4 of each row:
//   8 bits, number + 128: for each 4 columns one line;
//   4 bits, number + 8: for each 8 columns one, 0..3 in the low halves and 4..7 in the high ones;
//   6 bits, number + 32: for each 16 columns two such lines of the lower 4 bits, then one of the
//     upper 2: columns 0..3 in the lowest bits of each byte, 12..15 in the highest.
// Then the scales of the block: for each group of columns, 32 of them, bf16. With 4 bits they are
// bytes (sign, exponent + 7 in 3 bits, mantissa in 4), to be multiplied by the row's own float: 32
// of those stand in front of the panel's blocks.
constexpr int PANEL_ROWS = 32;
constexpr int BLOCK_COLUMNS = 128;

struct Matrix {
  const uint8_t* data;
  int32_t rows;     // as many as count; the last panel may hold more, which are zero
  int32_t columns;  // padded to a multiple of BLOCK_COLUMNS
  int32_t bits;     // 8, 6 or 4
  int32_t group;    // columns that share a scale: 64 with 8 and 6 bits, 32 with 4
  int32_t ahead;    // how one row reads it from memory: an Ahead, the fastest on this machine
};

// How far weights are asked for before they are used, and into which cache. Which one is fastest
// differs by a third, and from one generation of processors to the next.
enum Ahead : int32_t { NOTHING = 0, NEAR = 1, SHORT = 2, LONG = 3, PASSING = 4 };

static constexpr int scale_bytes(int bits) { return bits == 4 ? 1 : 2; }
static constexpr size_t level_bytes(int bits) { return size_t{PANEL_ROWS} * BLOCK_COLUMNS * bits / 8; }
static inline size_t front_bytes(const Matrix& m) {
  return m.bits == 4 ? PANEL_ROWS * sizeof(float) : 0;
}
static inline size_t block_bytes(const Matrix& m) {
  return level_bytes(m.bits) +
         size_t{BLOCK_COLUMNS} / m.group * PANEL_ROWS * scale_bytes(m.bits);
}
static inline int blocks(const Matrix& m) { return m.columns / BLOCK_COLUMNS; }
static inline size_t panel_bytes(const Matrix& m) {
  return front_bytes(m) + block_bytes(m) * blocks(m);
}
static inline int panels(const Matrix& m) { return (m.rows + PANEL_ROWS - 1) / PANEL_ROWS; }

// The scale of one group of activations, and what its sum adds to a product with weights that
// were made unsigned.
struct GroupScale {
  float scale;
  int32_t offset;
};

// Rows of activations in 8 bits, each group with a scale of its own.
struct Activations {
  int8_t* levels;       // (rows, stride)
  GroupScale* scales;   // (rows, scale_stride)
  int64_t stride;
  int64_t scale_stride;
};

// What to do with a tile of a product.
enum class Finish : int32_t { STORE = 0, ADD = 1, SILU_GATE = 2 };

struct Output {
  float* data;       // (rows, stride)
  int64_t stride;
  Finish finish;     // SILU_GATE: the panel's first 16 rows gate its last 16, 16 columns result
  int32_t columns;   // nothing is written beyond
};

struct AttentionUnit {
  const float* queries;      // the first token's, (tokens, query_stride), G * E numbers from there
  float* mixed;              // likewise
  const uint16_t* keys;      // (capacity, E) of one key/value head, bf16
  const uint16_t* values;
  int64_t query_stride;
  int64_t mixed_stride;
  int32_t tokens;
  int32_t position;          // of the first token
  int32_t groups;            // G: query heads of this key/value head
  int32_t head_dim;          // E, a multiple of 16, at most 128
};

// One row of a short convolution. `line` holds B, C and x, n floats each.
struct ConvRow {
  float* line;
  int64_t stride;        // to the line of the sequence's next token
  const float* taps;     // (W, n), those of the oldest column first
  const uint16_t* kept;  // (n, W - 1): the columns before this pass, bf16
  uint16_t* left;        // likewise, written: those after the last token; null for all others
  int32_t index;         // of the token, within its sequence in this pass
  int32_t width;         // W
  int32_t n;
};

// Groups of weights that wait for their scales.
struct Groups {
  const float* numbers;       // (count, group)
  const float* bases;         // one for each `groups_of_a_base`, with 4 bits; else null
  int64_t count;
  int64_t groups_of_a_base;
  int32_t group;              // at most MOST_IN_A_GROUP
  int32_t bits;
};
constexpr int MOST_IN_A_GROUP = 64;

struct Kernels {
  // (rows, n) floats, each row to a root mean square of 1 and times `weight`; into `out`.
  void (*norm)(const float* x, const float* weight, float* out, int n, float eps);
  // One row of n floats to 8 bits in groups; `bits` is that of the weights it will meet.
  void (*quantize)(const float* x, int8_t* levels, GroupScale* scales, int n, int padded,
                   int group, int bits);
  // Panels first..last of the product of all `rows` activations with `m`, into `out`.
  // `sums` is scratch of sum_floats(rows).
  void (*product)(const Matrix& m, const Activations& a, int rows, int first, int last,
                  const Output& out, float* sums);
  // Turn each pair (i, i + E / 2) of a head by an angle.
  void (*rotate)(float* head, const float* cosines, const float* sines, int head_dim);
  void (*to_bf16)(const float* x, uint16_t* out, int n);
  // Columns start..end (multiples of 16) of B * x, rounded to bf16, in the place of x.
  void (*gate_in)(const ConvRow& row, int start, int end);
  // Columns start..end of C * (taps * the columns so far), once gate_in has made those.
  void (*convolve)(const ConvRow& row, int start, int end, float* out);
  // One row of embedding, n floats.
  void (*embed)(const Matrix& m, int row, float* out, int n);
  // `scratch` is attention_scratch(unit) floats.
  void (*attend)(const AttentionUnit& unit, float* scratch);
  // The best scale of each group, (from.count,), of `count` that are tried: the largest number times
  // one of the factors, and then by least squares.
  void (*best_scales)(const Groups& from, const float* factors, int count, float* out);
  // A sum over all numbers and the weights of one plain read of `bytes`: for measuring bandwidth.
  uint64_t (*read)(const uint8_t* data, size_t bytes);
};

constexpr int KEY_BLOCK = 64;
constexpr int ATTENTION_ROWS = 64;  // query rows (tokens x G) of one unit, at most

static inline size_t attention_scratch(int head_dim) {
  // queries, mixture, scores, keys turned, values, two numbers a row
  return size_t{ATTENTION_ROWS} * (2 * head_dim + KEY_BLOCK + 2) +
         2 * size_t{KEY_BLOCK} * head_dim;
}

constexpr int K_BLOCKS = 4;       // blocks of columns that stay in the first cache: 4 x 4 KB
constexpr int MOST_ROWS_AT_ONCE = 192;  // of activations that a product takes on

static inline size_t sum_floats(int rows) {
  return size_t(rows < MOST_ROWS_AT_ONCE ? rows : MOST_ROWS_AT_ONCE) * PANEL_ROWS;
}

// Each is compiled for its kind of processor, and may be called on such ones only; tiles_ready, which
// says whether there are tiles for kernels_amx, wherever kernels_avx512 may be.
extern const Kernels* kernels_amx();
extern bool tiles_ready();
extern const Kernels* kernels_avx512();
extern const Kernels* kernels_avxvnni();
extern const Kernels* kernels_avx2();
extern const Kernels* kernels_plain();

}  // namespace lfm2
