// How keys and values are stored: in the type of the queries, or as e4m3 codes, of which k_scale
// and v_scale make the numbers. The scale of keys is part of AttentionParams::softmax_scale_log2,
// that of values multiplies the result, so that tensor cores take the codes' own values: exact in
// bf16 and in f16.
#pragma once

#include <type_traits>

#include "fp8.cuh"

// The four codes of a word, as an element of the templates that otherwise take a pair.
struct Codes;

template <typename Pair_>
struct NativeCache {
  using Pair = Pair_;     // of queries, and what is multiplied
  using Element = Pair_;  // of a 32-bit word of the cache

  static constexpr int kBytes = 2;  // of a number
  static constexpr bool kIsFp8 = false;
  static constexpr float kUnit = 1.0f;  // what is multiplied comes in these
};

template <typename Pair_>
struct Fp8Cache {
  using Pair = Pair_;
  using Element = Codes;
  static constexpr int kBytes = 1;
  static constexpr bool kIsFp8 = true;
  static constexpr float kUnit = kE4m3Unit;

  // Two pairs, that of the two low codes first, in units of kUnit; NaN is NaN.
  static __device__ __forceinline__ uint2 decode(uint32_t codes) {
    const uint2 halves = decode_e4m3x4(codes);
    return {from_halves(halves.x), from_halves(halves.y)};
  }

  // The same, but for the order: the first and the third code, then the second and the fourth.
  static __device__ __forceinline__ uint2 decode_alternate(uint32_t codes) {
    return decode(__byte_perm(codes, 0, 0x3120));
  }

 private:
  static __device__ __forceinline__ uint32_t from_halves(uint32_t bits) {
    if constexpr (!std::is_same_v<Pair, __half2>) {
      __half2 halves;
      __builtin_memcpy(&halves, &bits, sizeof(bits));
      const Pair pair = from_f32<Pair>(to_f32(halves));
      __builtin_memcpy(&bits, &pair, sizeof(bits));
    }
    return bits;
  }
};
