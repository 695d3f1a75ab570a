// Eight 16-bit floats as one 16-byte value, and their conversions. `Pair` is __nv_bfloat162 or
// __half2.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "layout.cuh"

constexpr int kVectorPairs = VECTOR_ELEMENTS / 2;

template <typename Pair>
struct Vector {
  Pair pairs[kVectorPairs];
  static_assert(sizeof(Pair) * kVectorPairs == sizeof(uint4), "a vector is one 16-byte access");

  Vector() = default;
  __device__ __forceinline__ explicit Vector(const uint4& bits) {
    __builtin_memcpy(pairs, &bits, sizeof(bits));
  }

  __device__ __forceinline__ uint4 bits() const {
    uint4 bits;
    __builtin_memcpy(&bits, pairs, sizeof(bits));
    return bits;
  }
};

__device__ __forceinline__ float2 to_f32(__nv_bfloat162 pair) { return __bfloat1622float2(pair); }
__device__ __forceinline__ float2 to_f32(__half2 pair) { return __half22float2(pair); }

// Rounds to nearest even.
template <typename Pair>
__device__ __forceinline__ Pair from_f32(float2 pair);
template <>
__device__ __forceinline__ __nv_bfloat162 from_f32(float2 pair) {
  return __float22bfloat162_rn(pair);
}
template <>
__device__ __forceinline__ __half2 from_f32(float2 pair) {
  return __float22half2_rn(pair);
}

// The element at `row` of a matrix of 16-bit elements at the device address `base`.
__device__ __forceinline__ char* row_address(uint64_t base, int64_t row, int64_t stride) {
  return reinterpret_cast<char*>(base) + row * stride * 2;
}
