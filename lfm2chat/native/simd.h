// Sixteen lanes, whatever the processor: the few operations that every kernel is written in.
//
// One of three implementations is compiled, by the macros that the build sets for the file which
// includes this one: AVX-512 with VNNI, AVX2 with FMA (with or without AVX-VNNI), or plain C++ that
// the compiler vectorizes as it can. Integers are exact in all of them, and floating-point
// operations are done lane by lane in the same order, so a product of matrices is equal bit for
// bit wherever there is a fused multiply-add.
//
//   F  sixteen floats        I  sixteen 32-bit integers        W  sixty-four bytes of weights
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(LFM2_AVX512) || defined(LFM2_AVX2)
#include <immintrin.h>
#endif

namespace LFM2_NAMESPACE {

constexpr int LANES = 16;

#if defined(LFM2_AVX512)

constexpr bool UNSIGNED_DOT = true;
constexpr int MAX_ROWS = 6;  // rows of one tile: 2 x 6 sums of each kind, of 32 registers
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
inline F load_first(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
inline F load_second(const uint16_t* p) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high));
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
inline I dot(I total, W w, const int8_t* four) {
  int32_t packed;
  std::memcpy(&packed, four, 4);
  return _mm512_dpbusd_epi32(total, w, _mm512_set1_epi32(packed));
}
inline I dot_nibbles(I total, W w, const int8_t* four) { return dot(total, w, four); }
inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
inline void prefetch_second(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

#elif defined(LFM2_AVX2)

constexpr int MAX_ROWS = 2;
struct F { __m256 a, b; };
struct I { __m256i a, b; };
struct W { __m256i a, b; };

inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, F v) { _mm256_storeu_ps(p, v.a); _mm256_storeu_ps(p + 8, v.b); }
inline F spread(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
inline F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F fma(F x, F y, F z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F absolute(F x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline F to_float(I v) { return {_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)}; }
inline I to_int(F v) { return {_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)}; }
inline I spread_int(int32_t v) { return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
inline __m256 half_power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
inline F power_of_two(I n) { return {half_power_of_two(n.a), half_power_of_two(n.b)}; }
inline __m256 half_load_bf16(const uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
inline F load_bf16(const uint16_t* p) { return {half_load_bf16(p), half_load_bf16(p + 8)}; }
inline void store_bf16(uint16_t* p, F v) {
  alignas(32) uint32_t bits[LANES];
  store(reinterpret_cast<float*>(bits), v);
  for (int i = 0; i < LANES; ++i) {
    p[i] = static_cast<uint16_t>((bits[i] + 0x7fff + ((bits[i] >> 16) & 1)) >> 16);
  }
}
inline __m256 half_round_bf16(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm256_castsi256_ps(_mm256_and_si256(up, high));
}
inline F round_bf16(F v) { return {half_round_bf16(v.a), half_round_bf16(v.b)}; }
inline __m256 half_first(const uint16_t* p) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
inline __m256 half_second(const uint16_t* p) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, high));
}
inline F load_first(const uint16_t* p) { return {half_first(p), half_first(p + 16)}; }
inline F load_second(const uint16_t* p) { return {half_second(p), half_second(p + 16)}; }
inline void half_store_pairs(uint16_t* p, __m256 first, __m256 second) {
  const __m256i low = _mm256_srli_epi32(_mm256_castps_si256(first), 16);
  const __m256i pairs = _mm256_or_si256(low, _mm256_castps_si256(second));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), pairs);
}
inline void store_pairs(uint16_t* p, F first, F second) {
  half_store_pairs(p, first.a, second.a);
  half_store_pairs(p + 16, first.b, second.b);
}
inline void store_int8(int8_t* p, I v) {
  alignas(32) int32_t wide[LANES];
  _mm256_store_si256(reinterpret_cast<__m256i*>(wide), v.a);
  _mm256_store_si256(reinterpret_cast<__m256i*>(wide + 8), v.b);
  for (int i = 0; i < LANES; ++i) p[i] = static_cast<int8_t>(wide[i]);
}
inline float sum(F v) {
  alignas(32) float lane[8];
  _mm256_store_ps(lane, _mm256_add_ps(v.a, v.b));
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}
inline float largest(F v) {
  alignas(32) float lane[8];
  _mm256_store_ps(lane, _mm256_max_ps(v.a, v.b));
  float best = lane[0];
  for (int i = 1; i < 8; ++i) best = lane[i] > best ? lane[i] : best;
  return best;
}
inline int32_t sum_int(I v) {
  alignas(32) int32_t lane[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lane), _mm256_add_epi32(v.a, v.b));
  int32_t total = 0;
  for (int i = 0; i < 8; ++i) total += lane[i];
  return total;
}
inline I add_int(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline W load_weights(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
inline W low_nibbles(W w) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(w.a, mask), _mm256_and_si256(w.b, mask)};
}
inline W high_nibbles(W w) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(_mm256_srli_epi16(w.a, 4), mask),
          _mm256_and_si256(_mm256_srli_epi16(w.b, 4), mask)};
}
inline __m256i spread_four(const int8_t* four) {
  int32_t packed;
  std::memcpy(&packed, four, 4);
  return _mm256_set1_epi32(packed);
}
#if defined(LFM2_AVXVNNI)
constexpr bool UNSIGNED_DOT = true;
inline I dot(I total, W w, const int8_t* four) {
  const __m256i x = spread_four(four);
  return {_mm256_dpbusd_avx_epi32(total.a, w.a, x), _mm256_dpbusd_avx_epi32(total.b, w.b, x)};
}
inline I dot_nibbles(I total, W w, const int8_t* four) { return dot(total, w, four); }
#else
// Products of an unsigned and a signed byte are added in pairs to 16 bits, which full bytes
// would overflow: so the weights are made signed, and their sign is given to the activations.
constexpr bool UNSIGNED_DOT = false;
inline __m256i half_dot(__m256i total, __m256i w, __m256i x) {
  const __m256i s = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(x, s));
  return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline __m256i half_dot_nibbles(__m256i total, __m256i w, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(w, x);
  return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline I dot(I total, W w, const int8_t* four) {
  const __m256i x = spread_four(four);
  return {half_dot(total.a, w.a, x), half_dot(total.b, w.b, x)};
}
inline I dot_nibbles(I total, W w, const int8_t* four) {
  const __m256i x = spread_four(four);
  return {half_dot_nibbles(total.a, w.a, x), half_dot_nibbles(total.b, w.b, x)};
}
#endif
inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
inline void prefetch_second(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

#else

constexpr bool UNSIGNED_DOT = true;
constexpr int MAX_ROWS = 2;
struct F { float v[LANES]; };
struct I { int32_t v[LANES]; };
struct W { uint8_t v[64]; };

#define LFM2_EACH for (int i = 0; i < LANES; ++i)
inline F load(const float* p) { F r; std::memcpy(&r, p, sizeof r); return r; }
inline void store(float* p, F v) { std::memcpy(p, &v, sizeof v); }
inline F spread(float x) { F r; LFM2_EACH r.v[i] = x; return r; }
inline F add(F a, F b) { LFM2_EACH a.v[i] += b.v[i]; return a; }
inline F sub(F a, F b) { LFM2_EACH a.v[i] -= b.v[i]; return a; }
inline F mul(F a, F b) { LFM2_EACH a.v[i] *= b.v[i]; return a; }
inline F div(F a, F b) { LFM2_EACH a.v[i] /= b.v[i]; return a; }
inline F fma(F a, F b, F c) { LFM2_EACH c.v[i] += a.v[i] * b.v[i]; return c; }
inline F max(F a, F b) { LFM2_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
inline F min(F a, F b) { LFM2_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
inline F absolute(F a) { LFM2_EACH a.v[i] = a.v[i] < 0 ? -a.v[i] : a.v[i]; return a; }
inline F to_float(I a) { F r; LFM2_EACH r.v[i] = static_cast<float>(a.v[i]); return r; }
inline I to_int(F a) {
  I r;
  LFM2_EACH r.v[i] = static_cast<int32_t>(std::nearbyintf(a.v[i]));
  return r;
}
inline I spread_int(int32_t x) { I r; LFM2_EACH r.v[i] = x; return r; }
inline F power_of_two(I n) {
  F r;
  LFM2_EACH { const int32_t bits = (n.v[i] + 127) << 23; std::memcpy(&r.v[i], &bits, 4); }
  return r;
}
inline F load_bf16(const uint16_t* p) {
  F r;
  LFM2_EACH { const uint32_t bits = uint32_t{p[i]} << 16; std::memcpy(&r.v[i], &bits, 4); }
  return r;
}
inline void store_bf16(uint16_t* p, F v) {
  LFM2_EACH {
    uint32_t bits;
    std::memcpy(&bits, &v.v[i], 4);
    p[i] = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
}
inline F from_bits(const uint32_t* bits) { F r; std::memcpy(&r, bits, sizeof r); return r; }
inline F round_bf16(F v) {
  uint32_t bits[LANES];
  std::memcpy(bits, &v, sizeof bits);
  LFM2_EACH bits[i] = (bits[i] + 0x7fff + ((bits[i] >> 16) & 1)) & 0xffff0000u;
  return from_bits(bits);
}
inline F load_first(const uint16_t* p) {
  uint32_t bits[LANES];
  LFM2_EACH bits[i] = uint32_t{p[2 * i]} << 16;
  return from_bits(bits);
}
inline F load_second(const uint16_t* p) {
  uint32_t bits[LANES];
  LFM2_EACH bits[i] = uint32_t{p[2 * i + 1]} << 16;
  return from_bits(bits);
}
inline void store_pairs(uint16_t* p, F first, F second) {
  uint32_t low[LANES], high[LANES];
  std::memcpy(low, &first, sizeof low);
  std::memcpy(high, &second, sizeof high);
  LFM2_EACH {
    p[2 * i] = static_cast<uint16_t>(low[i] >> 16);
    p[2 * i + 1] = static_cast<uint16_t>(high[i] >> 16);
  }
}
inline void store_int8(int8_t* p, I v) { LFM2_EACH p[i] = static_cast<int8_t>(v.v[i]); }
inline float sum(F v) { float r = 0; LFM2_EACH r += v.v[i]; return r; }
inline float largest(F v) { float r = v.v[0]; LFM2_EACH r = v.v[i] > r ? v.v[i] : r; return r; }
inline int32_t sum_int(I v) { int32_t r = 0; LFM2_EACH r += v.v[i]; return r; }
inline I add_int(I a, I b) { LFM2_EACH a.v[i] += b.v[i]; return a; }
inline W load_weights(const uint8_t* p) { W r; std::memcpy(&r, p, 64); return r; }
inline W low_nibbles(W w) { for (auto& byte : w.v) byte &= 15; return w; }
inline W high_nibbles(W w) { for (auto& byte : w.v) byte >>= 4; return w; }
inline I dot(I total, W w, const int8_t* four) {
  LFM2_EACH for (int k = 0; k < 4; ++k) total.v[i] += int32_t{w.v[4 * i + k]} * four[k];
  return total;
}
inline I dot_nibbles(I total, W w, const int8_t* four) { return dot(total, w, four); }
inline void prefetch(const void*) {}
inline void prefetch_second(const void*) {}
#undef LFM2_EACH

#endif

// e to the power of each lane, within 2 units in the last place from -87 to 88; 0 below.
inline F exponential(F x) {
  x = min(max(x, spread(-87.3f)), spread(88.3f));
  const I n = to_int(mul(x, spread(1.44269504f)));
  const F whole = to_float(n);
  F r = fma(whole, spread(-0.693359375f), x);
  r = fma(whole, spread(2.12194440e-4f), r);
  F p = spread(1.9875691500e-4f);
  p = fma(p, r, spread(1.3981999507e-3f));
  p = fma(p, r, spread(8.3334519073e-3f));
  p = fma(p, r, spread(4.1665795894e-2f));
  p = fma(p, r, spread(1.6666665459e-1f));
  p = fma(p, r, spread(5.0000001201e-1f));
  p = fma(p, mul(r, r), add(r, spread(1.0f)));
  return mul(p, power_of_two(n));
}

}  // namespace LFM2_NAMESPACE
