// matmul_fp8 of few tokens, at most 8 or 16: out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] +
// bias[n]) of e4m3 codes and their scales
//
// Layout: x [m, k] and weight [n, k] in e4m3, scales as params.h has them; bias [n] in bf16 or f16,
//         out [m, n] in that type or f32, with SwiGLU [m, n / 2]. Rows are 16-byte aligned, k is a
//         multiple of 16, n of 8.
// FLOPs:  2 * m * n * k; the tensor cores make those of 8 or 16 tokens, in f16, which holds every
//         code exactly: in f32 sums without the few bits that products of codes have on some
//         devices
// Bytes:  m * k + n * k + scales + 2 * n + out. All of x is read again for each tile of 32 rows,
//         m * k * ceil(n / 32) in all, of which L1 serves what it has room for
// Bound:  HBM bandwidth: the weights' bytes. Expected on an H200: 85% of a kernel that only reads
//         them. The rest is lost while the rings fill, once a launch, and where blocks that share a
//         tile wait for its last sums.
//
// The frame is common/stream_matmul.cuh. A unit is 32 rows of 128 columns, one line of memory of
// each row: 4 KB of weights, and 1 or 2 KB of x; the columns are those that share a scale where
// scales are of blocks, and their sums are multiplied by both scales before they are added to the
// others. In flight: 3 units of each of 8 warps, 96 KB a multiprocessor. Shared memory: 164 KB for
// 8 tokens, 196 KB for 16, fewer warps where a device has less; one block a multiprocessor.
#include "common/fp8.cuh"
#include "common/stream_rows.cuh"

template <class Shape>
struct Fp8Rows : StreamRows<Shape> {
  using Base = StreamRows<Shape>;
  static constexpr int kScalesOffset = Base::kUnitEnd;
  static constexpr int kScaleBytes = 32 * 4;  // of the tokens, then of gate's and up's rows
  static constexpr int kWords = 4;            // of 16 codes
  static_assert(Base::kUnitBytes == FP8_GROUP_COLUMNS, "a unit's columns share a scale");
  static_assert(Shape::kTokens + 2 <= 32, "a lane copies a scale");
  static_assert(FP8_GROUP_COLUMNS % Shape::kRows == 0, "the rows of a tile share a scale");

  const MatmulFp8Params& params;
  const char* gmem_scale;  // the lane's one of the unit that is copied next
  int64_t scale_step;      // bytes from one unit's to the next
  int64_t scale_row_step;  // bytes from one block's of rows to the next
  int64_t scale_tile_step;
  int first_row;          // of the tile that is copied next
  bool copies_scale;      // the lane
  bool has_scale;         // what it copies is not zero
  uint32_t smem_scale;    // where the lane's one goes in a place
  uint32_t smem_x_scale;  // the lane's two tokens'

  __device__ __forceinline__ Fp8Rows(const MatmulFp8Params& params, const StreamUnit& first,
                                     int lane_idx)
      : Base(params.matmul.weight, params.matmul.weight_stride_row, params.matmul.x,
             params.matmul.x_stride_row, params.matmul.n, params.matmul.m, params.matmul.k, first,
             lane_idx),
        params(params) {
    const MatmulParams& matmul = params.matmul;
    first_row = static_cast<int>(first.tile * Shape::kRows);
    const int part = lane_idx - Shape::kTokens;  // 0 of gate, or of all rows; 1 of up
    int64_t step = params.x_scale_stride_group;
    scale_row_step = 0;
    if (part < 0) {
      gmem_scale =
          reinterpret_cast<const char*>(params.x_scale) + lane_idx * params.x_scale_stride_row * 4;
    } else {
      const bool swiglu = matmul.epilogue == MATMUL_EPILOGUE_SWIGLU;
      const int up = swiglu && part == 1 ? (matmul.n / 2 - 1) / FP8_GROUP_COLUMNS + 1 : 0;
      step = params.weight_scale_stride_group;
      scale_row_step = params.weight_scale_stride_row * 4;
      gmem_scale = reinterpret_cast<const char*>(params.weight_scale) +
                   (up + block_of(first_row)) * scale_row_step;
    }
    scale_step = step * 4;
    gmem_scale += first.column * scale_step;
    scale_tile_step = -static_cast<int64_t>(Base::padded_bytes / Base::kUnitBytes) * scale_step;
    copies_scale = params.block_scales && part < 2;
    has_scale = part >= 0 || lane_idx < matmul.m;
    smem_scale = kScalesOffset + lane_idx * 4;
    smem_x_scale = kScalesOffset + lane_idx % 4 * 8;
  }

  // The block of rows whose scale a row has; of gate and up, in their half.
  __device__ __forceinline__ int block_of(int row) const {
    const int single = row / FP8_GROUP_COLUMNS;
    return params.matmul.epilogue == MATMUL_EPILOGUE_SWIGLU ? single / 2 : single;
  }

  __device__ __forceinline__ static uint32_t place_bytes() { return kScalesOffset + kScaleBytes; }

  __device__ __forceinline__ void copy(uint32_t smem_place, int column) const {
    Base::copy_rows(smem_place, column);
    if (copies_scale) {
      cp_async_word(smem_place + smem_scale, gmem_scale, has_scale);
    }
  }

  __device__ __forceinline__ void advance(int units) {
    Base::advance(units);
    gmem_scale += units * scale_step;
  }
  __device__ __forceinline__ void next_tile() {
    Base::next_tile();
    const int block = block_of(first_row);
    first_row += Shape::kRows;
    gmem_scale += scale_tile_step + (block_of(first_row) - block) * scale_row_step;
  }

  // sums += scales * (weights * x^T). What an mma takes for columns 2t, 2t+1, 2t+8 and 2t+9 of its
  // 16 are here four neighbours.
  __device__ __forceinline__ void multiply(StreamSums<Shape>& sums, uint32_t smem_place,
                                           int) const {
    StreamSums<Shape> part = {};
#pragma unroll
    for (int chunk = 0; chunk < Base::kChunks; ++chunk) {
      uint2 x[Shape::kTokenTiles][kWords];
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j) {
        decode<true>(x[j], Base::x(smem_place, chunk, j));
      }
#pragma unroll
      for (int r = 0; r < Shape::kRowTiles; ++r) {
        uint2 low[kWords];
        uint2 high[kWords];
        decode<false>(low, Base::weights(smem_place, chunk, 2 * r));
        decode<false>(high, Base::weights(smem_place, chunk, 2 * r + 1));
#pragma unroll
        for (int word = 0; word < kWords; ++word) {
#pragma unroll
          for (int j = 0; j < Shape::kTokenTiles; ++j) {
            mma_m16n8k16<__half2>(part[r][j],
                                  {low[word].x, high[word].x, low[word].y, high[word].y},
                                  x[j][word].x, x[j][word].y);
          }
        }
      }
    }
    // Rows g and g+8, and two tokens, have a scale each.
    constexpr float kUnit = kE4m3Unit * kE4m3Unit;
    float row_scale[2] = {kUnit, kUnit};
    float token_scale[Shape::kTokenTiles][2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (params.block_scales) {
        row_scale[i] *=
            __uint_as_float(ld_shared_u32(smem_place + kScalesOffset + (Shape::kTokens + i) * 4));
      }
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j) {
        token_scale[j][i] = params.block_scales
                                ? __uint_as_float(ld_shared_u32(smem_place + smem_x_scale +
                                                                (j * kTileTokens + i) * 4))
                                : 1.0f;
      }
    }
#pragma unroll
    for (int r = 0; r < Shape::kRowTiles; ++r) {
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[r][j][i] += part[r][j][i] * (row_scale[i / 2] * token_scale[j][i % 2]);
        }
      }
    }
  }

  template <bool kNan>
  __device__ __forceinline__ static void decode(uint2 (&pairs)[kWords], const uint4& codes) {
    pairs[0] = decode_e4m3x4<kNan>(codes.x);
    pairs[1] = decode_e4m3x4<kNan>(codes.y);
    pairs[2] = decode_e4m3x4<kNan>(codes.z);
    pairs[3] = decode_e4m3x4<kNan>(codes.w);
  }
};

// Scales of rows and tokens, which all columns share.
__device__ __forceinline__ void scale_sums(const MatmulFp8Params& params, float (&sums)[4],
                                           int64_t row, int token) {
  const char* gmem_row = reinterpret_cast<const char*>(params.weight_scale);
  const char* gmem_token = reinterpret_cast<const char*>(params.x_scale);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int64_t r = row + i / 2 * 8;
    const int64_t t = token + i % 2;
    if (r < params.matmul.n && t < params.matmul.m) {
      sums[i] *= ld_global_f32(gmem_token + t * params.x_scale_stride_row * 4);
      sums[i] *= ld_global_f32(gmem_row + r * params.weight_scale_stride_row * 4);
    }
  }
}

template <class Shape, typename Pair>
__device__ __forceinline__ void matmul_fp8_stream(const MatmulFp8Params& params) {
  using Operand = Fp8Rows<Shape>;
  static_assert(Operand::kUnitBytes == MATMUL_FP8_STREAM_COLUMNS, "the plan's tile");
  const int units_per_tile = (params.matmul.k - 1) / MATMUL_FP8_STREAM_COLUMNS + 1;
  stream_matmul<Operand>(params, params.matmul.workspace, params.matmul.n, units_per_tile,
                         [&](float(&sums)[4], int64_t row, int token) {
                           if (!params.block_scales) {
                             scale_sums(params, sums, row, token);
                           }
                           store_sums<Pair>(params.matmul, sums, row, token);
                         });
}

#define MATMUL_FP8_STREAM_KERNEL(dtype, Pair, tokens)                                         \
  extern "C" __global__ void __launch_bounds__(kStreamThreads, 1)                             \
      matmul_fp8_stream_##dtype##_m##tokens(const __grid_constant__ MatmulFp8Params params) { \
    matmul_fp8_stream<StreamShape<MATMUL_FP8_STREAM_ROWS / kTileRows, tokens / kTileTokens>,  \
                      Pair>(params);                                                          \
  }

MATMUL_FP8_STREAM_KERNEL(bf16, __nv_bfloat162, 8)
MATMUL_FP8_STREAM_KERNEL(bf16, __nv_bfloat162, 16)
MATMUL_FP8_STREAM_KERNEL(f16, __half2, 8)
MATMUL_FP8_STREAM_KERNEL(f16, __half2, 16)
