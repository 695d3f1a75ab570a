// The frame of matrix products on tensor cores: acc[m,n] += sum_k a[m,k] * b[n,k] over one block's
// tile. It knows the pipeline and the order of the phases; an operand knows how its part of a stage
// comes into shared memory (`copy`) and from there into the fragments of an mma (`load`). So
// another kind of weight is another operand, and nothing else.
//
//   stage  kBlockK columns of both operands, copied asynchronously; kStages of them in rotation
//   step   16 columns of a stage: what one mma takes. The fragments of the next step are loaded
//          while the tensor cores work on this one
//
// The order of the additions into an accumulator is that of k, 16 at a time; it is the same in
// every shape whose warps do not share the columns of a stage (kWarpsK = 1).
#pragma once

#include "../ptx/cp_async.cuh"
#include "../ptx/ldst.cuh"
#include "../ptx/mma.cuh"
#include "layout.cuh"
#include "swizzle.cuh"

constexpr int kMmaM = 16;
constexpr int kMmaN = 8;
constexpr int kMmaK = 16;

template <int kBlockM_, int kBlockN_, int kBlockK_, int kStages_, int kWarpM_, int kWarpN_,
          int kWarpsK_>
struct TileShape {
  static constexpr int kBlockM = kBlockM_;  // outputs of a block
  static constexpr int kBlockN = kBlockN_;
  static constexpr int kBlockK = kBlockK_;  // columns of a stage
  static constexpr int kStages = kStages_;
  static constexpr int kWarpM = kWarpM_;  // outputs of a warp
  static constexpr int kWarpN = kWarpN_;
  static constexpr int kWarpsM = kBlockM / kWarpM;
  static constexpr int kWarpsN = kBlockN / kWarpN;
  static constexpr int kWarpsK = kWarpsK_;  // warps that make the same outputs, in turn by steps
  static constexpr int kThreads = kWarpsM * kWarpsN * kWarpsK * 32;
  static constexpr int kFragmentsM = kWarpM / kMmaM;
  static constexpr int kFragmentsN = kWarpN / kMmaN;
  static constexpr int kSteps = kBlockK / kMmaK / kWarpsK;      // of a warp
  static constexpr int kRowChunks = kBlockK / VECTOR_ELEMENTS;  // of a 16-bit operand
  static constexpr int kRowBytes = kBlockK * 2;

  static_assert(kBlockM % kWarpM == 0 && kBlockN % kWarpN == 0, "warps cover the block");
  static_assert(kWarpM % kMmaM == 0, "warps are whole mma");
  static_assert(kWarpN % 16 == 0, "the fragments of b are loaded in pairs");
  static_assert(kSteps % 2 == 0, "fragments alternate between two sets of registers");
  static_assert(kStages >= 3, "two stages in flight while one is used");
  static_assert(kRowBytes <= 256, "stages begin at multiples of 256 bytes, which steps rely on");
};

template <class Shape>
using Accumulators = float[Shape::kFragmentsM][Shape::kFragmentsN][4];

// kRows rows of a matrix of 16-bit elements on their way into shared memory. A thread copies one
// 16-byte chunk in each of several rows; rows and columns past the end of the matrix are zeros.
template <class Shape, int kRows>
struct RowsCopy {
  static constexpr int kRowsAtOnce = Shape::kThreads / Shape::kRowChunks;
  static constexpr int kCopies = kRows / kRowsAtOnce;
  static constexpr int kStageBytes = kRows * Shape::kRowBytes;
  static_assert(kRows % kRowsAtOnce == 0, "every thread copies as much");
  static_assert(kRowsAtOnce % 8 == 0, "all copies of a thread have the same place in the swizzle");

  const char* gmem;   // this thread's chunk of the next stage, in its first row
  int64_t gmem_step;  // bytes from one of its rows to the next
  int copies;         // how many of its rows lie in the matrix
  int columns;        // from its chunk to the end of the row
  uint32_t smem_offset;

  // `first_row` is in the matrix, which has `num_rows` rows of `k` columns.
  __device__ __forceinline__ RowsCopy(uint64_t base, int64_t stride, int first_row, int num_rows,
                                      int k, int first_stage) {
    const int row = threadIdx.x / Shape::kRowChunks;
    const int chunk = threadIdx.x % Shape::kRowChunks;
    const int rows = num_rows - first_row - row;
    gmem = reinterpret_cast<const char*>(base) +
           (first_row + static_cast<int64_t>(row)) * stride * 2 +
           static_cast<int64_t>(first_stage) * Shape::kRowBytes + chunk * 16;
    gmem_step = stride * (2 * kRowsAtOnce);
    copies = rows > 0 ? (rows - 1) / kRowsAtOnce + 1 : 0;
    columns = k - first_stage * Shape::kBlockK - chunk * VECTOR_ELEMENTS;
    smem_offset = swizzled<Shape::kRowChunks>(row, chunk);
  }

  // Starts the copies of the next stage.
  __device__ __forceinline__ void copy(uint32_t smem_stage) {
    const int valid = columns > 0 ? copies : 0;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      cp_async(smem_stage + smem_offset + i * kRowsAtOnce * Shape::kRowBytes, gmem + i * gmem_step,
               i < valid);
    }
    gmem += Shape::kRowBytes;
    columns -= Shape::kBlockK;
  }
};

// Which part of the block's tile a warp makes.
template <class Shape>
struct WarpCoordinate {
  int m;
  int n;
  int k;

  __device__ __forceinline__ WarpCoordinate() {
    const int warp_idx = threadIdx.x / 32;
    m = warp_idx % Shape::kWarpsM;
    n = warp_idx / Shape::kWarpsM % Shape::kWarpsN;
    k = warp_idx / (Shape::kWarpsM * Shape::kWarpsN);
  }
};

// The chunk of a step's fragments that a lane addresses, `half` of the 16 columns, in the first of
// a warp's steps. The others are told apart by bits of the address that the swizzle only turns, so
// that a step costs one exclusive or: stages begin at multiples of a row.
template <class Shape>
__device__ __forceinline__ uint32_t first_step_address(int row, int half, int warp_k) {
  return swizzled<Shape::kRowChunks>(row, half) ^ (warp_k * kMmaK * 2);
}
template <class Shape>
__device__ __forceinline__ uint32_t step_address(uint32_t smem, int step) {
  return smem ^ (step * Shape::kWarpsK * kMmaK * 2);
}

// The activations as operand A: rows of 16-bit elements.
template <class Shape>
struct ActivationOperand : RowsCopy<Shape, Shape::kBlockM> {
  using Fragments = uint32_t[Shape::kFragmentsM][4];
  uint32_t smem_lane;

  __device__ __forceinline__ ActivationOperand(uint64_t base, int64_t stride, int first_row,
                                               int num_rows, int k, int first_stage,
                                               const WarpCoordinate<Shape>& warp)
      : RowsCopy<Shape, Shape::kBlockM>(base, stride, first_row, num_rows, k, first_stage) {
    // ldmatrix: lanes 0-15 address rows 0-15 of the first eight columns, 16-31 those of the others.
    const int lane_idx = threadIdx.x % 32;
    smem_lane =
        first_step_address<Shape>(warp.m * Shape::kWarpM + lane_idx % 16, lane_idx / 16, warp.k);
  }

  __device__ __forceinline__ void load(Fragments& a, uint32_t smem_stage, int step) const {
    const uint32_t smem = step_address<Shape>(smem_stage + smem_lane, step);
#pragma unroll
    for (int i = 0; i < Shape::kFragmentsM; ++i) {
      ldmatrix_x4(a[i], smem + i * kMmaM * Shape::kRowBytes);
    }
  }
};

// 16-bit weights as operand B: rows of 16-bit elements.
template <class Shape>
struct WeightOperand : RowsCopy<Shape, Shape::kBlockN> {
  using Fragments = uint32_t[Shape::kFragmentsN / 2][4];  // two columns of mma each
  uint32_t smem_lane;

  __device__ __forceinline__ WeightOperand(uint64_t base, int64_t stride, int first_row,
                                           int num_rows, int k, int first_stage,
                                           const WarpCoordinate<Shape>& warp)
      : RowsCopy<Shape, Shape::kBlockN>(base, stride, first_row, num_rows, k, first_stage) {
    // ldmatrix: lanes 0-7 rows 0-7 of the first eight columns, 8-15 of the others; then rows 8-15.
    const int lane_idx = threadIdx.x % 32;
    const int row = warp.n * Shape::kWarpN + lane_idx / 16 * 8 + lane_idx % 8;
    smem_lane = first_step_address<Shape>(row, lane_idx / 8 % 2, warp.k);
  }

  __device__ __forceinline__ void load(Fragments& b, uint32_t smem_stage, int step) const {
    const uint32_t smem = step_address<Shape>(smem_stage + smem_lane, step);
#pragma unroll
    for (int j = 0; j < Shape::kFragmentsN / 2; ++j) {
      ldmatrix_x4(b[j], smem + j * 2 * kMmaN * Shape::kRowBytes);
    }
  }

  __device__ __forceinline__ static uint32_t low(const Fragments& b, int j) {
    return b[j / 2][j % 2 * 2];
  }
  __device__ __forceinline__ static uint32_t high(const Fragments& b, int j) {
    return b[j / 2][j % 2 * 2 + 1];
  }
};

// What a warp makes of the fragments: sums of products, 16-bit numbers of one type here. Another
// format has its own, which knows what its fragments are and when sums must leave the tensor cores'
// accumulators.
template <class Shape, class Pair>
struct PairProducts {
  Accumulators<Shape> acc = {};

  // Before the first step of a stage; `first` says that no stages were before.
  __device__ __forceinline__ void begin_stage(int /*stage*/, bool /*first*/) {}

  // One step: each fragment of B with all of A, there and back, so that neighbouring mma share an
  // operand.
  template <class OperandB>
  __device__ __forceinline__ void multiply(const uint32_t (&a)[Shape::kFragmentsM][4],
                                           const typename OperandB::Fragments& b) {
#pragma unroll
    for (int j = 0; j < Shape::kFragmentsN; ++j) {
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM; ++i) {
        const int turn = j % 2 == 0 ? i : Shape::kFragmentsM - 1 - i;
        mma_m16n8k16<Pair>(acc[turn][j], a[turn], OperandB::low(b, j), OperandB::high(b, j));
      }
    }
  }

  // Behind the last step of a stage; `last` says that no more stages follow.
  __device__ __forceinline__ void end_stage(int /*stage*/, bool /*last*/) {}
};

// The main loop: adds `num_stages` stages of the operands to `products`. Each stage ends with one
// barrier, behind which the next stage may be read and the last one overwritten.
template <class Shape, class Products, class OperandA, class OperandB>
__device__ __forceinline__ void matmul_stages(Products& products, OperandA& operand_a,
                                              OperandB& operand_b, uint32_t smem, int num_stages) {
  constexpr int kStageBytes = OperandA::kStageBytes + OperandB::kStageBytes;
  const uint32_t smem_end = smem + Shape::kStages * kStageBytes;
  auto next = [&](uint32_t stage) {
    return stage + kStageBytes == smem_end ? smem : stage + kStageBytes;
  };

#pragma unroll
  for (int stage = 0; stage < Shape::kStages - 1; ++stage) {
    if (stage < num_stages) {
      operand_a.copy(smem + stage * kStageBytes);
      operand_b.copy(smem + stage * kStageBytes + OperandA::kStageBytes);
    }
    cp_async_commit();
  }
  uint32_t smem_read = smem;
  uint32_t smem_write = smem + (Shape::kStages - 1) * kStageBytes;
  typename OperandA::Fragments a[2];
  typename OperandB::Fragments b[2];
  cp_async_wait<Shape::kStages - 2>();
  __syncthreads();
  operand_a.load(a[0], smem_read, 0);
  operand_b.load(b[0], smem_read + OperandA::kStageBytes, 0);

#pragma unroll 1
  for (int stage = 0; stage < num_stages; ++stage) {
    const bool copies = stage + Shape::kStages - 1 < num_stages;
    products.begin_stage(stage, stage == 0);
#pragma unroll
    for (int step = 0; step < Shape::kSteps; ++step) {
      if (step == Shape::kSteps - 1) {
        // All fragments of this stage are in registers: behind the barrier it may be overwritten.
        cp_async_wait<Shape::kStages - 2>();
        __syncthreads();
        smem_read = next(smem_read);
      }
      // Behind the last stage this reads what nobody uses.
      const int next_step = (step + 1) % Shape::kSteps;
      operand_a.load(a[(step + 1) % 2], smem_read, next_step);
      operand_b.load(b[(step + 1) % 2], smem_read + OperandA::kStageBytes, next_step);
      // The two operands' copies in different steps: they share the way into shared memory with the
      // fragments.
      if (step == 0 && copies) {
        operand_a.copy(smem_write);
      }
      if (step == (Shape::kSteps > 2 ? 1 : 0)) {
        if (copies) {
          operand_b.copy(smem_write + OperandA::kStageBytes);
        }
        cp_async_commit();  // an empty group where there is nothing to copy: waits count groups
        smem_write = next(smem_write);
      }
      products.template multiply<OperandB>(a[step % 2], b[step % 2]);
    }
    products.end_stage(stage, stage == num_stages - 1);
  }
}

// Adds up the accumulators of the warps that make the same outputs, in the first of them, through
// the memory of the pipeline. Says whether this warp has the sums.
template <class Shape>
__device__ __forceinline__ bool reduce_warps(Accumulators<Shape>& acc, uint32_t smem,
                                             const WarpCoordinate<Shape>& warp) {
  if constexpr (Shape::kWarpsK > 1) {
    static_assert(Shape::kWarpsK == 2, "one warp gives, one takes");
    constexpr int kFragments = Shape::kFragmentsM * Shape::kFragmentsN;
    const int pair = warp.n * Shape::kWarpsM + warp.m;
    const uint32_t smem_lane = smem + (pair * kFragments * 32 + threadIdx.x % 32) * 16;
    __syncthreads();  // the last fragments have been read
#pragma unroll
    for (int phase = 0; phase < 2; ++phase) {
#pragma unroll
      for (int i = 0; i < Shape::kFragmentsM; ++i) {
#pragma unroll
        for (int j = 0; j < Shape::kFragmentsN; ++j) {
          const uint32_t smem_fragment = smem_lane + (i * Shape::kFragmentsN + j) * 32 * 16;
          if (phase == 0 && warp.k == 1) {
            st_shared_f32x4(smem_fragment, acc[i][j]);
          }
          if (phase == 1 && warp.k == 0) {
            add_shared_f32x4(acc[i][j], smem_fragment);
          }
        }
      }
      if (phase == 0) {
        __syncthreads();
      }
    }
  }
  return warp.k == 0;
}
