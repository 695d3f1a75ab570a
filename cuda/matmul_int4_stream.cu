// matmul_int4 of few tokens, at most 8 or 16: out[m,n] = epilogue(sum_k x[m,k] * w[n,k] + bias[n]),
// w = round((code - zero) * scale) to the type of x
//
// Layout: x, bias and out as in matmul.cu; codes, scales and zeros as quant::int4::Packed has them.
// FLOPs:  2 * m * n * k; the tensor cores make those of 8 or 16 tokens
// Bytes:  2 * m * k + n * k / 2 + scales and zeros + 2 * n + out. All of x is read again for each
//         tile of 64 rows (16 tokens: 128), 2 * m * k * ceil(n / 64) in all, of which L1 serves
//         what it has room for; where a group is wider than a unit its scales are read again, from
//         L2
// Bound:  HBM bandwidth: the weights' bytes. Expected on an H200: 85% of a kernel that only reads
//         them. The rest is lost while the rings fill, once a launch, and where blocks that share a
//         tile wait for its last sums. A unit comes in 227 cycles of a multiprocessor at 4.3 TB/s,
//         in which it issues 908 instructions; it takes about 650 (f16) or 720 (bf16) of them where
//         weights are computed in 16 bits, 1000 with f16 scales of a bf16 model, and more, which
//         then is the bound, with zeros that are no integers.
//
// The frame is common/stream_matmul.cuh. A unit is 64 rows of 128 columns, for 16 tokens 128 rows
// of 64: 4 KB of codes, 2 KB of x, and 128 to 1024 bytes of scales. In flight: 3 units of each of 8
// warps, 96 KB of codes a multiprocessor. Shared memory for groups of 128 without zeros: 196 KB for
// 8 tokens, 200 KB for 16, fewer warps where a device has less; one block a multiprocessor.
#include "common/stream_int4.cuh"

template <class Shape, typename Pair, int kHalves>
__device__ __forceinline__ void matmul_int4_stream(const MatmulInt4Params& params) {
  using Operand = StreamInt4<Shape, Pair, kHalves>;
  const int units_per_tile = (params.matmul.k - 1) / Operand::kUnitColumns + 1;
  stream_matmul<Operand>(params, params.matmul.workspace, params.matmul.n, units_per_tile,
                         [&](float(&sums)[4], int64_t row, int token) {
                           store_sums<Pair>(params.matmul, sums, row, token);
                         });
}

#define MATMUL_INT4_STREAM_KERNEL(dtype, Pair, tokens)                                          \
  extern "C" __global__ void __launch_bounds__(kStreamThreads, 1)                               \
      matmul_int4_stream_##dtype##_m##tokens(const __grid_constant__ MatmulInt4Params params) { \
    using Shape =                                                                               \
        StreamShape<MATMUL_INT4_STREAM_M##tokens##_ROWS / kTileRows, tokens / kTileTokens>;     \
    matmul_int4_stream<Shape, Pair, MATMUL_INT4_STREAM_M##tokens##_COLUMNS / 64>(params);       \
  }

MATMUL_INT4_STREAM_KERNEL(bf16, __nv_bfloat162, 8)
MATMUL_INT4_STREAM_KERNEL(bf16, __nv_bfloat162, 16)
MATMUL_INT4_STREAM_KERNEL(f16, __half2, 8)
MATMUL_INT4_STREAM_KERNEL(f16, __half2, 16)
