// simd.h in plain C++, which the compiler vectorizes as it can.
#pragma once

namespace LFM2_NAMESPACE {

constexpr bool UNSIGNED_DOT = true;
constexpr int MAX_ROWS = 6;
constexpr int WHOLE_ROWS = 2;
constexpr int ROW_VECTORS = 1;
constexpr int TURNED_PAIRS = 8;
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
inline F firsts(I pairs) {
  uint32_t bits[LANES];
  LFM2_EACH bits[i] = static_cast<uint32_t>(pairs.v[i]) << 16;
  return from_bits(bits);
}
inline F seconds(I pairs) {
  uint32_t bits[LANES];
  LFM2_EACH bits[i] = static_cast<uint32_t>(pairs.v[i]) & 0xffff0000u;
  return from_bits(bits);
}
inline I load_pairs(const uint16_t* p) {
  I pairs;
  LFM2_EACH pairs.v[i] = static_cast<int32_t>(uint32_t{p[2 * i]} | uint32_t{p[2 * i + 1]} << 16);
  return pairs;
}
inline F load_first(const uint16_t* p) { return firsts(load_pairs(p)); }
inline F load_second(const uint16_t* p) { return seconds(load_pairs(p)); }
inline void turn_pairs(const uint16_t* keys, int count, int, int stride, I (&t)[8]) {
  LFM2_EACH for (int pair = 0; pair < 8; ++pair) {
    const uint16_t* two = keys + size_t(i) * stride + 2 * pair;
    t[pair].v[i] = i < count ? static_cast<int32_t>(two[0] | uint32_t{two[1]} << 16) : 0;
  }
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
inline W halves_down(W w) { return high_nibbles(w); }
template <int J>
inline W six_bits(W low, W top) {
  for (int i = 0; i < 64; ++i) low.v[i] = (low.v[i] & 15) | (top.v[i] >> 2 * J & 3) << 4;
  return low;
}
inline F load_shares(const uint8_t* p) {
  uint32_t bits[LANES];
  LFM2_EACH bits[i] = uint32_t{p[i] & 0x80u} << 24 | ((uint32_t{p[i] & 0x7fu} << 19) + (120u << 23));
  return from_bits(bits);
}
inline I dot(I total, W w, const int8_t* four) {
  LFM2_EACH for (int k = 0; k < 4; ++k) total.v[i] += int32_t{w.v[4 * i + k]} * four[k];
  return total;
}
struct P {};
inline P no_pairs() { return {}; }
inline void dot_small(I& total, P&, W w, const int8_t* four) { total = dot(total, w, four); }
inline void add_pairs(I&, P&) {}
#undef LFM2_EACH

}  // namespace LFM2_NAMESPACE
