// simd.h in AVX-512 with VNNI.
#pragma once

namespace LFM2_NAMESPACE {

constexpr bool UNSIGNED_DOT = true;
constexpr int MAX_ROWS = 6;  // rows of one tile: 2 x 6 sums of each kind, of 32 registers
constexpr int WHOLE_ROWS = MAX_ROWS;
constexpr int ROW_VECTORS = 4;  // of sums, for each of four rows, with room left for what is added
constexpr int TURNED_PAIRS = 16;
using F = __m512;
using I = __m512i;
using W = __m512i;

inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F v) { _mm512_storeu_ps(p, v); }
inline F spread(float v) { return _mm512_set1_ps(v); }
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F absolute(F a) { return _mm512_abs_ps(a); }
inline F to_float(I v) { return _mm512_cvtepi32_ps(v); }
inline I to_int(F v) { return _mm512_cvtps_epi32(v); }  // to the nearest, ties to even
inline I spread_int(int32_t v) { return _mm512_set1_epi32(v); }
inline F power_of_two(I n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
inline F load_bf16(const uint16_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
inline __m512i half_up(F v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}
inline void store_bf16(uint16_t* p, F v) {
  const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(half_up(v), 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
}
inline F round_bf16(F v) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm512_castsi512_ps(_mm512_and_si512(half_up(v), high));
}
// Sixteen pairs of bf16 numbers: the first of each, or the second.
inline F firsts(I pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
inline F seconds(I pairs) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, high));
}
inline F load_first(const uint16_t* p) { return firsts(_mm512_loadu_si512(p)); }
inline F load_second(const uint16_t* p) { return seconds(_mm512_loadu_si512(p)); }
inline void turn_pairs(const uint16_t* keys, int count, int columns, int stride, I (&t)[16]) {
  __m512i u[LANES];
  const __mmask32 there = columns >= 32 ? 0xffffffffu : (1u << columns) - 1;
  for (int i = 0; i < LANES; ++i) {
    const uint16_t* key = keys + size_t(i) * stride;
    t[i] = i < count ? _mm512_maskz_loadu_epi16(there, key) : _mm512_setzero_si512();
  }
  for (int i = 0; i < LANES; i += 2) {
    u[i] = _mm512_unpacklo_epi32(t[i], t[i + 1]);
    u[i + 1] = _mm512_unpackhi_epi32(t[i], t[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4) {
    t[i] = _mm512_unpacklo_epi64(u[i], u[i + 2]);
    t[i + 1] = _mm512_unpackhi_epi64(u[i], u[i + 2]);
    t[i + 2] = _mm512_unpacklo_epi64(u[i + 1], u[i + 3]);
    t[i + 3] = _mm512_unpackhi_epi64(u[i + 1], u[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    u[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
    u[i + 4] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    u[i + 8] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    u[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    t[i] = _mm512_shuffle_i32x4(u[i], u[i + 8], 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(u[i], u[i + 8], 0xdd);
  }
}
// Of numbers that are bf16 already.
inline void store_pairs(uint16_t* p, F first, F second) {
  const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(first), 16);
  _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_castps_si512(second)));
}
inline void store_int8(int8_t* p, I v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}
inline float sum(F v) { return _mm512_reduce_add_ps(v); }
inline float largest(F v) { return _mm512_reduce_max_ps(v); }
inline int32_t sum_int(I v) { return _mm512_reduce_add_epi32(v); }
inline I add_int(I a, I b) { return _mm512_add_epi32(a, b); }
inline W load_weights(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline W low_nibbles(W w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
inline W high_nibbles(W w) {
  return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15));
}
inline W halves_down(W w) { return _mm512_srli_epi16(w, 4); }
template <int J>
inline W six_bits(W low, W top) {
  const W moved = J < 2    ? _mm512_slli_epi16(top, J < 2 ? 4 - 2 * J : 0)
                  : J == 2 ? top
                           : _mm512_srli_epi16(top, 2);
  return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(0x0f)),
                         _mm512_and_si512(moved, _mm512_set1_epi8(0x30)));
}
inline F load_shares(const uint8_t* p) {
  const __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m512i ones = _mm512_or_si512(_mm512_slli_epi32(wide, 19), _mm512_set1_epi32(0x3c000000));
  return _mm512_castsi512_ps(_mm512_andnot_si512(_mm512_set1_epi32(0x40000000), ones));
}
inline I dot(I total, W w, const int8_t* four) {
  int32_t packed;
  std::memcpy(&packed, four, 4);
  return _mm512_dpbusd_epi32(total, w, _mm512_set1_epi32(packed));
}
struct P {};
inline P no_pairs() { return {}; }
inline void dot_small(I& total, P&, W w, const int8_t* four) { total = dot(total, w, four); }
inline void add_pairs(I&, P&) {}

}  // namespace LFM2_NAMESPACE
