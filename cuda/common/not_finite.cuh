// Values that are not finite, in tiles of which a row sees only some keys. A probability of 0 hides
// a finite value, not a NaN or an infinity: without this, one in the values of a token would reach
// the tokens before it.
#pragma once

#include "attention.cuh"

// The bit above each half whose exponent is all ones: NaN or infinity. Of codes, the bit above each
// NaN: there is no infinity.
template <typename Element>
__device__ __forceinline__ uint32_t not_finite(uint32_t word);
template <>
__device__ __forceinline__ uint32_t not_finite<__nv_bfloat162>(uint32_t pair) {
  return (pair & 0x7f807f80) + 0x00800080 & 0x80008000;
}
template <>
__device__ __forceinline__ uint32_t not_finite<__half2>(uint32_t pair) {
  return (pair & 0x7c007c00) + 0x04000400 & 0x80008000;
}

template <>
__device__ __forceinline__ uint32_t not_finite<Codes>(uint32_t codes) {
  return (codes & 0x7f7f7f7f) + 0x01010101 & 0x80808080;
}

// Whether the values that this thread has copied, and waited for, are all finite.
template <typename Element, typename Copy>
__device__ __forceinline__ bool copied_finite(const Copy& copy, uint32_t smem_v) {
  uint32_t found = 0;
  copy.for_each_chunk(smem_v, [&](uint32_t smem) {
    const uint4 v = ld_shared(smem);
    found |= not_finite<Element>(v.x) | not_finite<Element>(v.y) | not_finite<Element>(v.z) |
             not_finite<Element>(v.w);
  });
  return found == 0;
}

// Zeros in the place of what this thread has copied and is not finite.
template <typename Element, typename Copy>
__device__ __forceinline__ void zero_not_finite(const Copy& copy, uint32_t smem_v) {
  constexpr int kBits = std::is_same_v<Element, Codes> ? 8 : 16;  // of a number
  const auto finite = [](uint32_t word) {
    return word & ~((not_finite<Element>(word) >> (kBits - 1)) * ((1 << kBits) - 1));
  };
  copy.for_each_chunk(smem_v, [&](uint32_t smem) {
    const uint4 v = ld_shared(smem);
    st_shared(smem, uint4{finite(v.x), finite(v.y), finite(v.z), finite(v.w)});
  });
}

// Adds what is not finite to the rows that see it, each of whose probabilities is above 0.
// limit[row] counts keys from the tile's first.
template <typename Pair, int kHeadDim, int kTilesM>
__device__ __forceinline__ void add_not_finite(Accumulators<kTilesM, kHeadDim / 8>& acc_o,
                                               uint32_t smem_v, int num_keys,
                                               const int (&limit)[2 * kTilesM], int lane_idx) {
  constexpr int kRowChunks = kHeadDim / kChunkElements;
#pragma unroll 1
  for (int key = 0; key < num_keys; ++key) {
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      const uint32_t bits = ld_shared_u32(smem_v + swizzled<kRowChunks>(key, n) + lane_idx % 4 * 4);
      const uint32_t found = not_finite<Pair>(bits);
      if (found == 0) continue;
      Pair pair;
      __builtin_memcpy(&pair, &bits, sizeof(pair));
      const float2 value = to_f32(pair);
#pragma unroll
      for (int row = 0; row < 2 * kTilesM; ++row) {
        if (key >= limit[row]) continue;
        float(&acc)[4] = acc_o[row / 2][n];
        if (found & 0xffff) acc[row % 2 * 2] += value.x;
        if (found & 0xffff0000) acc[row % 2 * 2 + 1] += value.y;
      }
    }
  }
}

// The same for codes, of which a thread's accumulators are four neighbours of every 16: see
// multiply_pv_codes.
template <int kHeadDim>
__device__ __forceinline__ void add_nan_codes(Accumulators<1, kHeadDim / 8>& acc_o, uint32_t smem_v,
                                              int num_keys, const int (&limit)[2], int lane_idx) {
  constexpr int kRowChunks = kHeadDim / kChunkBytes;
  const float nan = __int_as_float(0x7fffffff);
#pragma unroll 1
  for (int key = 0; key < num_keys; ++key) {
#pragma unroll
    for (int chunk = 0; chunk < kRowChunks; ++chunk) {
      const uint32_t smem = smem_v + swizzled<kRowChunks>(key, chunk) + lane_idx % 4 * 4;
      const uint32_t found = not_finite<Codes>(ld_shared_u32(smem));
      if (found == 0) continue;
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        if (key >= limit[row]) continue;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (found >> 8 * i & 0x80) acc_o[0][2 * chunk + i % 2][row * 2 + i / 2] = nan;
        }
      }
    }
  }
}
