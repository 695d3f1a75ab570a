// What happens to the accumulators of a warp's tile between the last mma and memory: bias, SwiGLU,
// rounding, storing. In the accumulator layout of mma.m16n8k16 a thread holds, with g = lane / 4
// and t = lane % 4, columns 2t and 2t+1 of the rows g and g+8 of each fragment; so gate and up of a
// weight interleaved in blocks of 8 rows are the same place of two neighbouring fragments.
//
// The thread's index is read anew: what follows from it would else be kept in registers across the
// main loop where a block makes several tiles.
#pragma once

#include "../ptx/ldst.cuh"
#include "../ptx/special.cuh"
#include "math.cuh"
#include "vectors.cuh"

static_assert(MATMUL_SWIGLU_BLOCK == 8, "gate and up are whole fragments");

template <typename Pair>
struct ElementOf;
template <>
struct ElementOf<__nv_bfloat162> {
  using Type = __nv_bfloat16;
};
template <>
struct ElementOf<__half2> {
  using Type = __half;
};

// The 16-bit element at a device address, such as a bias.
template <typename Pair>
__device__ __forceinline__ float load_element(uint64_t base, int64_t index) {
  using Element = typename ElementOf<Pair>::Type;
  const uint16_t bits = ld_global_u16(reinterpret_cast<const char*>(base) + index * 2);
  Element element;
  __builtin_memcpy(&element, &bits, sizeof(bits));
  return static_cast<float>(element);
}

// Two numbers, rounded to nearest even.
template <typename Pair>
__device__ __forceinline__ uint32_t rounded(float x, float y) {
  const Pair pair = from_f32<Pair>({x, y});
  uint32_t bits;
  __builtin_memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

// Adds bias[column] to each accumulator; `columns` are left in the matrix from the first one on.
template <typename Pair, int kFragmentsM, int kFragmentsN>
__device__ __forceinline__ void add_bias(float (&acc)[kFragmentsM][kFragmentsN][4], uint64_t bias,
                                         int first_column, int columns) {
  const int t = static_cast<int>(thread_idx_anew() % 4);
#pragma unroll
  for (int j = 0; j < kFragmentsN; ++j) {
    float values[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = j * 8 + 2 * t + c;
      values[c] = column < columns
                      ? load_element<Pair>(bias, static_cast<int64_t>(first_column) + column)
                      : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kFragmentsM; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        acc[i][j][c] += values[c % 2];
      }
    }
  }
}

// acc[i][j] = silu(acc[i][2j]) * acc[i][2j+1].
template <int kFragmentsM, int kFragmentsN>
__device__ __forceinline__ void combine_gate_up(float (&acc)[kFragmentsM][kFragmentsN][4]) {
#pragma unroll
  for (int i = 0; i < kFragmentsM; ++i) {
#pragma unroll
    for (int j = 0; j < kFragmentsN / 2; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        acc[i][j][c] = silu(acc[i][2 * j][c]) * acc[i][2 * j + 1][c];
      }
    }
  }
}

// Four lanes hold two neighbouring columns of each of four fragments; afterwards lane t holds all
// eight columns of fragment t, in order: what a 16-byte store wants.
__device__ __forceinline__ void transpose_quad(uint32_t (&v)[4]) {
  const uint32_t thread_idx = thread_idx_anew();
#pragma unroll
  for (int distance = 1; distance <= 2; distance *= 2) {
    const bool upper = thread_idx & distance;
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int low = distance == 1 ? 2 * pair : pair;
      const int high = low + distance;
      const uint32_t received = __shfl_xor_sync(0xffffffff, upper ? v[low] : v[high], distance);
      (upper ? v[low] : v[high]) = received;
    }
  }
}

// Stores the first `count` of eight elements; all of them at once where there are no fewer.
__device__ __forceinline__ void store_elements(char* gmem, const uint32_t (&v)[4], int count) {
  if (count >= VECTOR_ELEMENTS) {
    st_global(gmem, {v[0], v[1], v[2], v[3]});
    return;
  }
#pragma unroll
  for (int e = 0; e < VECTOR_ELEMENTS - 1; ++e) {
    if (e < count) {
      st_global_u16(gmem + 2 * e, static_cast<uint16_t>(v[e / 2] >> (e % 2 * 16)));
    }
  }
}

// Stores the first kCount fragments of each row of fragments, in the activation type or in f32;
// `rows` and `columns` are left in the matrix from the tile's first element on, which is in
// `first_row` of `gmem_out`.
template <typename Pair, int kCount, int kFragmentsM, int kFragmentsN>
__device__ __forceinline__ void store_fragments(const float (&acc)[kFragmentsM][kFragmentsN][4],
                                                char* gmem_out, int64_t row_bytes, bool out_f32,
                                                int first_row, int rows, int columns) {
  static_assert(kCount % 4 == 0, "lanes exchange four fragments");
  const int lane_idx = static_cast<int>(thread_idx_anew() % 32);
  const int g = lane_idx / 4;
  const int t = lane_idx % 4;
#pragma unroll
  for (int i = 0; i < kFragmentsM; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = i * 16 + half * 8 + g;
      char* gmem = gmem_out + (first_row + row) * row_bytes;
      if (out_f32) {
#pragma unroll
        for (int j = 0; j < kCount; ++j) {
          const int column = j * 8 + 2 * t;
          const float x = acc[i][j][2 * half];
          const float y = acc[i][j][2 * half + 1];
          if (row < rows && column + 1 < columns) {
            st_global_f32x2(gmem + column * 4, x, y);
          } else if (row < rows && column < columns) {
            st_global_f32(gmem + column * 4, x);
          }
        }
      } else {
#pragma unroll
        for (int first = 0; first < kCount; first += 4) {
          uint32_t v[4];
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            v[j] = rounded<Pair>(acc[i][first + j][2 * half], acc[i][first + j][2 * half + 1]);
          }
          transpose_quad(v);
          const int column = (first + t) * 8;
          store_elements(gmem + column * 2, v, row < rows ? columns - column : 0);
        }
      }
    }
  }
}

// Bias, SwiGLU and store of a warp's tile whose first element is [first_row, first_column] of the
// sums.
template <typename Pair, int kFragmentsM, int kFragmentsN>
__device__ __forceinline__ void store_tile(const MatmulParams& params,
                                           float (&acc)[kFragmentsM][kFragmentsN][4], int first_row,
                                           int first_column) {
  static_assert(kFragmentsN % 8 == 0, "gate and up of four fragments");
  const int rows = params.m - first_row;
  const int columns = params.n - first_column;
  if (params.bias != 0) {
    add_bias<Pair>(acc, params.bias, first_column, columns);
  }
  const int element_bytes = params.out_f32 ? 4 : 2;
  const int64_t row_bytes = params.out_stride_row * element_bytes;
  char* gmem_out = reinterpret_cast<char*>(params.out);
  if (params.epilogue == MATMUL_EPILOGUE_SWIGLU) {
    combine_gate_up(acc);
    gmem_out += static_cast<int64_t>(first_column / 2) * element_bytes;
    store_fragments<Pair, kFragmentsN / 2>(acc, gmem_out, row_bytes, params.out_f32, first_row,
                                           rows, columns / 2);
  } else {
    gmem_out += static_cast<int64_t>(first_column) * element_bytes;
    store_fragments<Pair, kFragmentsN>(acc, gmem_out, row_bytes, params.out_f32, first_row, rows,
                                       columns);
  }
}
