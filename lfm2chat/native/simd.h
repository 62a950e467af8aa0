// Sixteen lanes, whatever the processor: the few operations that every kernel is written in.
//
// One of three implementations is compiled, by the macros that the build sets for the file which
// includes this one: AVX-512 with VNNI, AVX2 with FMA (with or without AVX-VNNI), or plain C++ that
// the compiler vectorizes as it can. Integers are exact in all of them, and floating-point
// operations are done lane by lane in the same order, so a product of matrices is equal bit for
// bit wherever there is a fused multiply-add.
//
//   F  sixteen floats        I  sixteen 32-bit integers        W  sixty-four bytes of weights
//
// firsts and seconds are the two halves of sixteen pairs of bf16 numbers. turn_pairs turns sixteen
// keys, `stride` numbers apart: t[i] holds columns 2 i and 2 i + 1 of all of them. Keys from `count`
// on and columns from `columns` on (a multiple of 16) are not read and become 0.
//
// Weights of 6 bits come in parts: six_bits<J> joins the lower 4 of them (the rest of each byte is
// anything) and bits 2 J and 2 J + 1 of the bytes that hold the upper 2. load_shares reads scales of
// one byte (sign, exponent + 7 in 3 bits, mantissa in 4): as they lie, a float's fields but for the
// exponent's upper bits.
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

}  // namespace LFM2_NAMESPACE

#if defined(LFM2_AVX512)
#include "simd_avx512.h"
#elif defined(LFM2_AVX2)
#include "simd_avx2.h"
#else
#include "simd_plain.h"
#endif

namespace LFM2_NAMESPACE {

// Asks for the line at `p`: into the first cache, the second, or the first and past the others.
// A compiler that may would gather those of a whole loop at its top, where they are more than a
// processor has in flight: it cost a tenth of the speed on Zen 3. So each stays where it stands.
#if (defined(LFM2_AVX512) || defined(LFM2_AVX2)) && defined(__GNUC__)
constexpr bool PREFETCHES = true;
#define LFM2_PREFETCH(kind) asm volatile(kind " %0" : : "m"(*static_cast<const char*>(p)) : "memory")
inline void prefetch(const void* p) { LFM2_PREFETCH("prefetcht0"); }
inline void prefetch_second(const void* p) { LFM2_PREFETCH("prefetcht1"); }
inline void prefetch_passing(const void* p) { LFM2_PREFETCH("prefetchnta"); }
#undef LFM2_PREFETCH
#else
constexpr bool PREFETCHES = false;
inline void prefetch(const void*) {}
inline void prefetch_second(const void*) {}
inline void prefetch_passing(const void*) {}
#endif

// The scales of one side of a panel, in a matrix of so many bits.
template <int BITS>
inline F load_scales(const uint8_t* p) {
  if constexpr (lfm2::scale_bytes(BITS) == 1) return load_shares(p);
  return load_bf16(reinterpret_cast<const uint16_t*>(p));
}

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
