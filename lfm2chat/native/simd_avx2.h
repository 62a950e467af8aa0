// simd.h in AVX2 with FMA, with or without AVX-VNNI: two registers for sixteen lanes.
#pragma once

namespace LFM2_NAMESPACE {

constexpr int MAX_ROWS = 6;    // rows of one tile
constexpr int WHOLE_ROWS = 2;  // as many at a time meet all of a panel's rows; more, half of them
constexpr int ROW_VECTORS = 1;
constexpr int TURNED_PAIRS = 8;
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
inline I load_pairs(const uint16_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16))};
}
inline F firsts(I pairs) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs.a, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(pairs.b, 16))};
}
inline F seconds(I pairs) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(pairs.a, high)),
          _mm256_castsi256_ps(_mm256_and_si256(pairs.b, high))};
}
inline F load_first(const uint16_t* p) { return firsts(load_pairs(p)); }
inline F load_second(const uint16_t* p) { return seconds(load_pairs(p)); }
// Eight keys by sixteen columns: t[i] holds columns 2 i and 2 i + 1 of all of them.
inline void half_turn_pairs(const uint16_t* keys, int count, int stride, __m256i (&t)[8]) {
  __m256i u[8];
  const auto key = [=](int i) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(keys + size_t(i) * stride));
  };
  if (count >= 8) {  // nearly always: no question for each
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) t[i] = key(i);
  } else {
    for (int i = 0; i < 8; ++i) t[i] = i < count ? key(i) : _mm256_setzero_si256();
  }
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    u[i] = _mm256_unpacklo_epi32(t[i], t[i + 1]);
    u[i + 1] = _mm256_unpackhi_epi32(t[i], t[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    t[i] = _mm256_unpacklo_epi64(u[i], u[i + 2]);
    t[i + 1] = _mm256_unpackhi_epi64(u[i], u[i + 2]);
    t[i + 2] = _mm256_unpacklo_epi64(u[i + 1], u[i + 3]);
    t[i + 3] = _mm256_unpackhi_epi64(u[i + 1], u[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    u[i] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x20);
    u[i + 4] = _mm256_permute2x128_si256(t[i], t[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) t[i] = u[i];
}
inline void turn_pairs(const uint16_t* keys, int count, int, int stride, I (&t)[8]) {
  __m256i a[8], b[8];
  half_turn_pairs(keys, count, stride, a);
  half_turn_pairs(keys + size_t{8} * stride, count - 8, stride, b);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) t[i] = {a[i], b[i]};
}
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
inline W halves_down(W w) { return {_mm256_srli_epi16(w.a, 4), _mm256_srli_epi16(w.b, 4)}; }
template <int J>
inline __m256i half_six_bits(__m256i low, __m256i top) {
  const __m256i moved = J < 2    ? _mm256_slli_epi16(top, J < 2 ? 4 - 2 * J : 0)
                        : J == 2 ? top
                                 : _mm256_srli_epi16(top, 2);
  return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(0x0f)),
                         _mm256_and_si256(moved, _mm256_set1_epi8(0x30)));
}
template <int J>
inline W six_bits(W low, W top) {
  return {half_six_bits<J>(low.a, top.a), half_six_bits<J>(low.b, top.b)};
}
inline __m256 half_shares(const uint8_t* p) {
  const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m256i ones = _mm256_or_si256(_mm256_slli_epi32(wide, 19), _mm256_set1_epi32(0x3c000000));
  return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_set1_epi32(0x40000000), ones));
}
inline F load_shares(const uint8_t* p) { return {half_shares(p), half_shares(p + 8)}; }
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
struct P {};
inline P no_pairs() { return {}; }
inline void dot_small(I& total, P&, W w, const int8_t* four) { total = dot(total, w, four); }
inline void add_pairs(I&, P&) {}
#else
// Products of an unsigned and a signed byte are added in pairs to 16 bits, which full bytes
// would overflow: so the weights are made signed, and their sign is given to the activations.
constexpr bool UNSIGNED_DOT = false;
// Finishes a sum before the next is begun: compilers like to begin all of them, for which there
// are too few registers.
inline __m256i now(__m256i v) {
#if defined(__GNUC__)
  asm volatile("" : "+x"(v));
#endif
  return v;
}
inline __m256i half_dot(__m256i total, __m256i w, __m256i x) {
  const __m256i s = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(x, s));
  return now(_mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
inline I dot(I total, W w, const int8_t* four) {
  const __m256i x = spread_four(four);
  return {half_dot(total.a, w.a, x), half_dot(total.b, w.b, x)};
}
struct P { __m256i a, b; };
inline P no_pairs() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline void dot_small(I&, P& pairs, W w, const int8_t* four) {
  const __m256i x = spread_four(four);
  pairs.a = now(_mm256_add_epi16(pairs.a, _mm256_maddubs_epi16(w.a, x)));
  pairs.b = now(_mm256_add_epi16(pairs.b, _mm256_maddubs_epi16(w.b, x)));
}
inline void add_pairs(I& total, P& pairs) {
  const __m256i ones = _mm256_set1_epi16(1);
  total.a = _mm256_add_epi32(total.a, _mm256_madd_epi16(pairs.a, ones));
  total.b = _mm256_add_epi32(total.b, _mm256_madd_epi16(pairs.b, ones));
  pairs = no_pairs();
}
#endif

}  // namespace LFM2_NAMESPACE
