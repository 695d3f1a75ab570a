// 4-bit weights on their way into the operands of an mma. src/quant/int4.rs defines what a code
// stands for, and src/quant/int4/packed.rs in which order codes and scales lie:
//
//   w = round((code - zero) * scale)    difference and product in f32, rounded once to x's type
//
// A word holds 16 rows by 16 columns, or a lane's part of them: nibbles p and p + 4 are the pair of
// neighbouring columns a[p] of operand A of m16n8k16. So rows g (p = 0, 2) and g+8 (p = 1, 3) take
// turns, and a[0], a[2] are also b[0], b[1] of one operand B, and a[1], a[3] of the next.
//
// The bits of that formula come in three ways (`Int4Arithmetic`), by instructions of a word, whose
// 256 codes a warp reads as 128 bytes: at 4.3 TB/s a multiprocessor of an H200 has 27 slots for it.
//
//   exact 16  13 for f16, 15 for bf16. Scales in x's type, zeros that are integers from 0 to 16:
//   the
//             difference is exact in 16 bits, and the product is rounded once
//   exact 32  24. f16 scales of a bf16 model, such zeros: with base + code in the upper bits of a
//             mantissa, (base + code) * scale - (base + zero) * scale is one exact fma
//   rounded   40. Whatever the formula says, step by step
//
// Zero times a negative scale is -0, which the second way makes +0: no sum that begins with 0 can
// tell them apart.
#pragma once

#include "../ptx/bits.cuh"
#include "vectors.cuh"

// One of two 16-bit numbers, twice.
template <typename Pair>
__device__ __forceinline__ Pair twice(uint32_t numbers, int i) {
  const uint32_t bits = __byte_perm(numbers, 0, i == 0 ? 0x1010 : 0x3232);
  Pair pair;
  __builtin_memcpy(&pair, &bits, sizeof(bits));
  return pair;
}

template <typename Pair>
__device__ __forceinline__ Pair pair_of(uint32_t bits) {
  Pair pair;
  __builtin_memcpy(&pair, &bits, sizeof(bits));
  return pair;
}

template <typename Pair>
__device__ __forceinline__ uint32_t bits_of(Pair pair) {
  uint32_t bits;
  __builtin_memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

// What follows the scales of a symmetric weight, which has no zeros: 8 and 8.
__device__ __forceinline__ uint32_t int4_symmetric_zeros(bool scales_bf16) {
  return scales_bf16 ? 0x41004100 : 0x48004800;
}

// The scale and zero of a group in the rows g and g+8, made ready for its codes. With kRegister a
// constant of the codes' base lies in a register, which saves an instruction for each pair.
// `scales` and `zeros` are those of the two rows side by side, in bf16 or f16 as `scales_bf16`
// says.
template <typename Pair, int kArithmetic, bool kRegister = false>
struct Int4Group;

// base + code in f16 is the code in the low bits of a mantissa: 1024 and 0x6400. Codes four bits
// further up count 16 times as much, from 1024 on too.
template <bool kRegister>
struct Int4Group<__half2, MATMUL_INT4_EXACT_16, kRegister> {
  __half2 scale[2];
  __half2 minus_base[2];  // and zero: of codes at bit 0, and of codes at bit 4, a sixteenth

  __device__ __forceinline__ Int4Group(uint32_t scales, uint32_t zeros, bool) {
    scale[0] = twice<__half2>(scales, 0);
    scale[1] = twice<__half2>(scales, 1);
    minus_base[0] = __hsub2(pair_of<__half2>(0xe400e400), twice<__half2>(zeros, 0));  // -1024
    minus_base[1] = __hsub2(pair_of<__half2>(0xd400d400), twice<__half2>(zeros, 1));  // -64
  }

  __device__ __forceinline__ void weights(uint32_t (&a)[4], uint32_t word) const {
#pragma unroll
    for (int columns = 0; columns < 2; ++columns) {
      const uint32_t codes = word >> columns * 8;
      const __half2 low = pair_of<__half2>(and_or<kRegister>(codes, 0x000f000f, 0x64006400));
      const __half2 high = pair_of<__half2>(and_or<kRegister>(codes, 0x00f000f0, 0x64006400));
      const __half2 sixteenth = pair_of<__half2>(0x2c002c00);
      a[columns * 2] = bits_of(__hmul2(__hadd2(low, minus_base[0]), scale[0]));
      a[columns * 2 + 1] = bits_of(__hmul2(__hfma2(high, sixteenth, minus_base[1]), scale[1]));
    }
  }
};

// In bf16 the base is 128, and a mantissa has room for one code.
template <bool kRegister>
struct Int4Group<__nv_bfloat162, MATMUL_INT4_EXACT_16, kRegister> {
  __nv_bfloat162 scale[2];
  __nv_bfloat162 minus_base[2];

  __device__ __forceinline__ Int4Group(uint32_t scales, uint32_t zeros, bool) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      scale[i] = twice<__nv_bfloat162>(scales, i);
      minus_base[i] =
          __hsub2(pair_of<__nv_bfloat162>(0xc300c300), twice<__nv_bfloat162>(zeros, i));  // -128
    }
  }

  __device__ __forceinline__ void weights(uint32_t (&a)[4], uint32_t word) const {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const uint32_t codes = and_or<kRegister>(word >> p * 4, 0x000f000f, 0x43004300);
      const __nv_bfloat162 difference = __hadd2(pair_of<__nv_bfloat162>(codes), minus_base[p % 2]);
      a[p] = bits_of(__hmul2(difference, scale[p % 2]));
    }
  }
};

// Both ways in f32: base + code has the code at bit 16 of a mantissa in the row g, where the base
// is 128, and at bit 12 in the row g+8, where it is 2048. Eight nibbles come there by four shifts.
template <bool kRegister>
__device__ __forceinline__ float int4_code(uint32_t word, int row, int columns, int column) {
  const int nibble = columns * 2 + row + column * 4;
  const int right = nibble * 4 - (row == 0 ? 16 : 12);
  const uint32_t bits = right < 0 ? word << -right : word >> right;
  return __uint_as_float(row == 0 ? and_or<kRegister>(bits, 0x000f0000, 0x43000000)
                                  : and_or<kRegister>(bits, 0x0000f000, 0x45000000));
}

__device__ __forceinline__ constexpr float int4_base(int row) {
  return row == 0 ? 128.0f : 2048.0f;
}

__device__ __forceinline__ float2 int4_to_f32(uint32_t numbers, bool bf16) {
  return bf16 ? to_f32(pair_of<__nv_bfloat162>(numbers)) : to_f32(pair_of<__half2>(numbers));
}

template <typename Pair, bool kRegister>
struct Int4Group<Pair, MATMUL_INT4_EXACT_32, kRegister> {
  float scale[2];
  float minus_base[2];  // (base + zero) * scale: 23 bits

  __device__ __forceinline__ Int4Group(uint32_t scales, uint32_t zeros, bool) {
    const float2 scale_f32 = int4_to_f32(scales, false);
    const float2 zero_f32 = int4_to_f32(zeros, false);
    scale[0] = scale_f32.x;
    scale[1] = scale_f32.y;
    minus_base[0] = __fmul_rn(-int4_base(0) - zero_f32.x, scale[0]);
    minus_base[1] = __fmul_rn(-int4_base(1) - zero_f32.y, scale[1]);
  }

  __device__ __forceinline__ void weights(uint32_t (&a)[4], uint32_t word) const {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const int row = p % 2;
      const float x = int4_code<kRegister>(word, row, p / 2, 0);
      const float y = int4_code<kRegister>(word, row, p / 2, 1);
      a[p] = bits_of(from_f32<Pair>(
          {__fmaf_rn(x, scale[row], minus_base[row]), __fmaf_rn(y, scale[row], minus_base[row])}));
    }
  }
};

template <typename Pair, bool kRegister>
struct Int4Group<Pair, MATMUL_INT4_ROUNDED, kRegister> {
  float scale[2];
  float zero[2];

  __device__ __forceinline__ Int4Group(uint32_t scales, uint32_t zeros, bool scales_bf16) {
    const float2 scale_f32 = int4_to_f32(scales, scales_bf16);
    const float2 zero_f32 = int4_to_f32(zeros, scales_bf16);
    scale[0] = scale_f32.x;
    scale[1] = scale_f32.y;
    zero[0] = zero_f32.x;
    zero[1] = zero_f32.y;
  }

  __device__ __forceinline__ float weight(float base_and_code, int row) const {
    const float code = __fsub_rn(base_and_code, int4_base(row));
    return __fmul_rn(__fsub_rn(code, zero[row]), scale[row]);
  }

  __device__ __forceinline__ void weights(uint32_t (&a)[4], uint32_t word) const {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const int row = p % 2;
      a[p] = bits_of(from_f32<Pair>({weight(int4_code<kRegister>(word, row, p / 2, 0), row),
                                     weight(int4_code<kRegister>(word, row, p / 2, 1), row)}));
    }
  }
};
