// matmul of few tokens, at most 8 or 16: out[m,n] = epilogue(sum_k x[m,k] * weight[n,k] + bias[n])
//
// Layout: as in matmul.cu.
// FLOPs:  2 * m * n * k; the tensor cores make those of 8 or 16 tokens
// Bytes:  2 * (m * k + n * k + n) + out. Each block reads all of x, 2 * m * k * ceil(n / rows) in
//         all, of which L1 serves what other blocks of its multiprocessor have read.
// Bound:  HBM bandwidth: the weights' bytes. Expected on an H200: 85% of a kernel that only reads
//         them. The rest is lost while blocks start and while they add up their warps' sums, in
//         which other blocks of the multiprocessor keep loading, and in the last wave.
//
// The weights are operand A of the mma, 16 rows of it, and go from memory straight into registers:
// 16 bytes a lane, past L1 and first to leave L2. x is operand B, 8 tokens wide, and comes through
// L1. What a lane loads are the operands of two mma with the columns in another order, the same for
// both. The warps of a block share its rows by columns; their sums meet in shared memory and are
// added in the order of the warps, so that the result has the same bits every time.
//
// In flight: a warp loads a batch of 8 x 16 bytes a lane while it multiplies the last one, 4 to 8
// KB a warp; two blocks of 8 warps (registers: 106 or 122 of 128) make 64 to 128 KB a
// multiprocessor. What 4.3 TB/s need for 0.8 us is 26 KB on each of 132. 16 tokens take 32 rows a
// block, because x would otherwise be as many bytes as the weights.
#include "common/epilogue.cuh"
#include "ptx/cp_async.cuh"
#include "ptx/mma.cuh"

constexpr int kWarps = MATMUL_STREAM_WARPS;
constexpr int kThreads = kWarps * 32;
constexpr int kTileRows = 16;      // of the weight in an mma
constexpr int kTileTokens = 8;     // of x
constexpr int kGroupColumns = 32;  // of two mma: 16 bytes of a row from each of four lanes

template <int kTokens_, int kRows_, int kColumns_>
struct StreamShape {
  static constexpr int kTokens = kTokens_;    // of a launch at most
  static constexpr int kRows = kRows_;        // of the weight, of a block
  static constexpr int kColumns = kColumns_;  // of a batch: what a warp loads at a time
  static constexpr int kRowTiles = kRows / kTileRows;
  static constexpr int kTokenTiles = kTokens / kTileTokens;
  static constexpr int kGroups = kColumns / kGroupColumns;
  static constexpr int kBatchBytes = kColumns * 2;  // of a row
};

// A batch of a warp's columns of weights in registers: lane (g, t) holds columns 8t to 8t+7 of each
// group in the rows g and g+8 of each tile.
template <class Shape>
using Weights = uint4[Shape::kGroups][Shape::kRowTiles][2];

template <class Shape>
using Sums = float[Shape::kRowTiles][Shape::kTokenTiles][4];

// A warp's walk along its rows of the weight and along all tokens, in strides of all warps'
// batches.
template <class Shape>
struct Walk {
  static constexpr int kStride = kWarps * Shape::kBatchBytes;

  const char* gmem_weight[Shape::kRowTiles][2];  // the lane's first chunk of the batch fetched next
  const char* gmem_x[Shape::kTokenTiles];        // of the batch that is multiplied next
  uint64_t policy;

  // Rows and tokens past the end read the last one again, from a sector that is read anyway; what
  // comes of them is not stored.
  __device__ __forceinline__ Walk(const MatmulParams& params, int warp_idx)
      : policy(evict_first_policy()) {
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
    const int offset = warp_idx * Shape::kBatchBytes + t * 16;
    const int64_t first_row = static_cast<int64_t>(blockIdx.x) * Shape::kRows;
    const int rows = static_cast<int>(params.n - first_row);
#pragma unroll
    for (int tile = 0; tile < Shape::kRowTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = min(tile * kTileRows + i * 8 + g, rows - 1);
        gmem_weight[tile][i] =
            row_address(params.weight, first_row + row, params.weight_stride_row) + offset;
      }
    }
#pragma unroll
    for (int j = 0; j < Shape::kTokenTiles; ++j) {
      const int token = min(j * kTileTokens + g, params.m - 1);
      gmem_x[j] = row_address(params.x, token, params.x_stride_row) + offset;
    }
  }

  // Starts the loads of a batch. Its columns from `columns` on, counted from the lane's first one,
  // lie behind the end of the rows and are zeros; kWhole batches have none.
  template <bool kWhole>
  __device__ __forceinline__ void fetch(Weights<Shape>& weights, int columns) {
#pragma unroll
    for (int tile = 0; tile < Shape::kRowTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int group = 0; group < Shape::kGroups; ++group) {
          const char* gmem = gmem_weight[tile][i] + group * kGroupColumns * 2;
          weights[group][tile][i] =
              kWhole || group * kGroupColumns < columns ? ld_global_stream(gmem, policy) : uint4{};
        }
        gmem_weight[tile][i] += kStride;
      }
    }
  }

  // sums += weights * x^T. The order of k in a dot product is free as long as both operands have
  // the same: what an mma takes for columns 2t, 2t+1, 2t+8 and 2t+9 of its 16 are here four
  // neighbours.
  template <typename Pair, bool kWhole>
  __device__ __forceinline__ void multiply(Sums<Shape>& sums, const Weights<Shape>& weights,
                                           int columns) {
#pragma unroll
    for (int group = 0; group < Shape::kGroups; ++group) {
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j) {
        const char* gmem = gmem_x[j] + group * kGroupColumns * 2;
        const uint4 x =
            kWhole || group * kGroupColumns < columns ? ld_global_shared_by_blocks(gmem) : uint4{};
#pragma unroll
        for (int tile = 0; tile < Shape::kRowTiles; ++tile) {
          const uint4& low = weights[group][tile][0];
          const uint4& high = weights[group][tile][1];
          mma_m16n8k16<Pair>(sums[tile][j], {low.x, high.x, low.y, high.y}, x.x, x.y);
          mma_m16n8k16<Pair>(sums[tile][j], {low.z, high.z, low.w, high.w}, x.z, x.w);
        }
      }
    }
#pragma unroll
    for (int j = 0; j < Shape::kTokenTiles; ++j) {
      gmem_x[j] += kStride;
    }
  }
};

// The warps' sums, [row][token]. Tokens trade places in pairs, so that neither writing accumulators
// nor reading 16 rows of two tokens has bank conflicts.
template <class Shape>
struct Partial {
  float sums[kWarps][Shape::kRows * Shape::kTokens];

  __device__ __forceinline__ static int index(int row, int token) {
    const int turn = Shape::kTokens == 8 ? row / 4 % 4 * 2 : row / 2 % 2 * 8 + row / 4 % 4 * 2;
    return row * Shape::kTokens + (token ^ turn);
  }

  __device__ __forceinline__ void write(const Sums<Shape>& acc, int warp_idx) {
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int tile = 0; tile < Shape::kRowTiles; ++tile) {
#pragma unroll
      for (int j = 0; j < Shape::kTokenTiles; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float* at = &sums[warp_idx][index(tile * kTileRows + i * 8 + g, j * kTileTokens + 2 * t)];
          st_shared_f32x2(smem_address(at), acc[tile][j][2 * i], acc[tile][j][2 * i + 1]);
        }
      }
    }
  }

  // In the order of the warps.
  __device__ __forceinline__ float total(int row, int token) const {
    float total = 0.0f;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      total += sums[warp][index(row, token)];
    }
    return total;
  }
};

// Bias, SwiGLU and store of one sum. The 16 lanes that hold the rows of a tile for one token are
// here together.
template <typename Pair>
__device__ __forceinline__ void store_sum(const MatmulParams& params, float sum, int64_t first_row,
                                          int row, int token) {
  const bool in_weight = row < params.n - first_row;
  if (params.bias != 0 && in_weight) {
    sum += load_element<Pair>(params.bias, first_row + row);
  }
  int64_t column = first_row + row;
  bool stores = in_weight && token < params.m;
  if (params.epilogue == MATMUL_EPILOGUE_SWIGLU) {
    const float up = __shfl_down_sync(0xffffffff, sum, MATMUL_SWIGLU_BLOCK, kTileRows);
    const int in_tile = row % kTileRows;
    sum = silu(sum) * up;
    column = (first_row + row - in_tile) / 2 + in_tile;
    stores = stores && in_tile < MATMUL_SWIGLU_BLOCK;
  }
  if (!stores) {
    return;
  }
  const int64_t offset = token * params.out_stride_row + column;
  char* gmem_out = reinterpret_cast<char*>(params.out);
  if (params.out_f32) {
    st_global_f32(gmem_out + offset * 4, sum);
  } else {
    st_global_u16(gmem_out + offset * 2, static_cast<uint16_t>(rounded<Pair>(sum, 0.0f)));
  }
}

template <class Shape, typename Pair>
__device__ __forceinline__ void matmul_stream(const MatmulParams& params) {
  const int warp_idx = threadIdx.x / 32;
  const int whole = params.k / Shape::kColumns;
  Walk<Shape> walk(params, warp_idx);
  Sums<Shape> acc = {};

  // Two batches in turn: one is loaded while the other is multiplied.
  constexpr bool kWhole = true;
  Weights<Shape> even;
  Weights<Shape> odd;
  int batch = warp_idx;
  if (batch < whole) {
    walk.template fetch<kWhole>(even, 0);
  }
#pragma unroll 1
  while (batch < whole) {
    if (batch + kWarps < whole) {
      walk.template fetch<kWhole>(odd, 0);
    }
    walk.template multiply<Pair, kWhole>(acc, even, 0);
    batch += kWarps;
    if (batch >= whole) {
      break;
    }
    if (batch + kWarps < whole) {
      walk.template fetch<kWhole>(even, 0);
    }
    walk.template multiply<Pair, kWhole>(acc, odd, 0);
    batch += kWarps;
  }
  // What is left of the rows goes to the warp whose turn it is.
  if (batch == whole && whole * Shape::kColumns < params.k) {
    const int columns = params.k - whole * Shape::kColumns - threadIdx.x % 4 * VECTOR_ELEMENTS;
    walk.template fetch<!kWhole>(even, columns);
    walk.template multiply<Pair, !kWhole>(acc, even, columns);
  }

  __shared__ __align__(16) Partial<Shape> smem_partial;
  smem_partial.write(acc, warp_idx);
  __syncthreads();
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * Shape::kRows;
#pragma unroll
  for (int i = threadIdx.x; i < Shape::kRows * Shape::kTokens; i += kThreads) {
    // A warp takes the rows of a tile for two tokens.
    const int row = i % kTileRows + i / 32 % Shape::kRowTiles * kTileRows;
    const int token = i / 32 / Shape::kRowTiles * 2 + i / kTileRows % 2;
    store_sum<Pair>(params, smem_partial.total(row, token), first_row, row, token);
  }
}

#define MATMUL_STREAM_KERNEL(dtype, Pair, tokens)                                               \
  extern "C" __global__ void __launch_bounds__(kThreads, 2)                                     \
      matmul_stream_##dtype##_m##tokens(const __grid_constant__ MatmulParams params) {          \
    using Shape = StreamShape<MATMUL_STREAM_M##tokens##_TOKENS, MATMUL_STREAM_M##tokens##_ROWS, \
                              MATMUL_STREAM_M##tokens##_COLUMNS>;                               \
    static_assert(Shape::kTokens == tokens, "the name says how many");                          \
    matmul_stream<Shape, Pair>(params);                                                         \
  }

MATMUL_STREAM_KERNEL(bf16, __nv_bfloat162, 8)
MATMUL_STREAM_KERNEL(bf16, __nv_bfloat162, 16)
MATMUL_STREAM_KERNEL(f16, __half2, 8)
MATMUL_STREAM_KERNEL(f16, __half2, 16)
