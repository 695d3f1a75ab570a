// What common/int4.cuh makes of every word, written out for the test beside this file.
#include "common/int4.cuh"

// Thread i takes word i of `scales` and of `zeros`, those of two rows, and writes the pairs
// `weights` [threads][16 words][4].
template <typename Pair, int kArithmetic>
__device__ __forceinline__ void write(const uint32_t* scales, const uint32_t* zeros,
                                      uint32_t* weights, bool scales_bf16) {
  const int thread = blockIdx.x * blockDim.x + threadIdx.x;
  const Int4Group<Pair, kArithmetic> group(scales[thread], zeros[thread], scales_bf16);
  // Not unrolled: the compiler would know the words.
#pragma unroll 1
  for (int code = 0; code < 16; ++code) {
    // The nibbles are code, code + 1 and so on, so that a place that is mistaken for another shows.
    const uint64_t codes = 0xfedcba9876543210ull;
    const uint32_t word = static_cast<uint32_t>(codes >> code * 4 | codes << 1 << (63 - code * 4));
    uint32_t a[4];
    group.weights(a, word);
    for (int p = 0; p < 4; ++p) {
      weights[(thread * 16 + code) * 4 + p] = a[p];
    }
  }
}

#define KERNEL(name, Pair, kArithmetic)                                          \
  extern "C" __global__ void name(const uint32_t* scales, const uint32_t* zeros, \
                                  uint32_t* weights, uint32_t scales_bf16) {     \
    write<Pair, kArithmetic>(scales, zeros, weights, scales_bf16 != 0);          \
  }

KERNEL(f16_exact_16, __half2, MATMUL_INT4_EXACT_16)
KERNEL(bf16_exact_16, __nv_bfloat162, MATMUL_INT4_EXACT_16)
KERNEL(bf16_exact_32, __nv_bfloat162, MATMUL_INT4_EXACT_32)
KERNEL(f16_rounded, __half2, MATMUL_INT4_ROUNDED)
KERNEL(bf16_rounded, __nv_bfloat162, MATMUL_INT4_ROUNDED)
