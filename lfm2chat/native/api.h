// The C interface of the native kernels: what lfm2chat/engine/backends/native_library.py calls.
//
// Plain structures and pointers, nothing of torch. Whatever is pointed to is the caller's and must
// live as long as the model. One thread calls; nothing is thrown, errors are numbers below 0:
// -1 where this processor cannot run these kernels, -2 where memory or threads are not to be had.
#pragma once

#include "kernels.h"

#if defined(_WIN32)
#define LFM2_EXPORT __declspec(dllexport)
#else
#define LFM2_EXPORT __attribute__((visibility("default")))
#endif

extern "C" {

struct lfm2_layer {
  int32_t has_attention;
  const float* operator_norm;  // (D,)
  const float* ffn_norm;       // (D,)
  const float* q_norm;         // (E,), attention
  const float* k_norm;         // (E,), attention
  const float* taps;           // (D, W), short convolution
  lfm2::Matrix in;             // attention: queries, keys, values; convolution: B, C, x
  lfm2::Matrix out;
  lfm2::Matrix gate_up;        // by turns 16 rows of w1 and 16 of w3
  lfm2::Matrix down;
};

struct lfm2_config {
  int32_t hidden, ff, heads, kv_heads, head_dim, conv_width, vocab, layers;
  float norm_eps;
  const float* inverse_frequencies;  // (E / 2,)
  const float* final_norm;           // (D,)
  const lfm2_layer* layer;
  lfm2::Matrix embedding;
  lfm2::Matrix head;
};

// One sequence of a pass: `tokens` new ones on top of `position`, of which those below `known`
// have their keys and values in the cache already (see HybridCache.rewind).
struct lfm2_sequence {
  int32_t tokens, position, known, capacity;
  uint16_t* const* keys;        // for each attention layer (K, capacity, E), bf16
  uint16_t* const* values;
  const uint16_t* const* kept;  // for each conv layer (D, W - 1), bf16, the columns before
  uint16_t* const* left;        // likewise, written: those after the last token
  int32_t every;                // or, if not 0, those after each: (tokens, D, W - 1)
};

// Asked before each layer; a number above 0 ends the pass.
typedef int32_t (*lfm2_before_layer)(void);

LFM2_EXPORT int32_t lfm2_abi(void);

// The name of the kind of processor that kernels number `kind` are for; null beyond the last.
// They are in order, the best first. `usable` says whether this processor is one.
LFM2_EXPORT const char* lfm2_kernels(int32_t kind, int32_t* usable);

// Null where it cannot be opened, for either reason.
LFM2_EXPORT void* lfm2_open(const lfm2_config* config, int32_t threads, int32_t kind);
LFM2_EXPORT void lfm2_close(void* model);

// Reads the sequences' tokens, `ids` one after the other. Writes logits (N, vocab): of each
// sequence's last token, or of `all`. Returns 0, an error, or what `before_layer` returned (it may
// be null): then keys and values beyond `position` are undefined, as are `left` and `logits`.
LFM2_EXPORT int32_t lfm2_forward(void* model, int32_t sequences, const lfm2_sequence* sequence,
                                 const int32_t* ids, int32_t all, float* logits,
                                 lfm2_before_layer before_layer);

// One product: (rows, columns) floats with `matrix` to (rows, matrix.rows).
LFM2_EXPORT int32_t lfm2_product(const lfm2::Matrix* matrix, const float* x, int32_t rows,
                                 int32_t columns, float* out, int32_t threads, int32_t kind);

// The best scale of each group: see lfm2::Kernels.
LFM2_EXPORT int32_t lfm2_best_scales(const lfm2::Groups* from, const float* factors, int32_t count,
                                     float* out, int32_t kind);

// Seconds that `threads` threads take to read `bytes` once, claiming `piece` bytes at a time.
LFM2_EXPORT double lfm2_read_seconds(const uint8_t* data, int64_t bytes, int32_t threads,
                                     int32_t kind);
}
