// The softmax of rows whose scores come in tiles (Milakov and Gimelshein 2018; FlashAttention-2,
// Dao 2023), held by a warp in the layout of mma's accumulators: of each 16-row tile, thread
// 4g + t has columns 2t and 2t+1 of every 8 in rows g and g+8.
//
// Exponents are relative to a maximum that follows the true one only when that has grown by more
// than kSlack: a probability may then be as large as 2^kSlack, which every type here holds, and
// nearly no tile has to rescale what was accumulated before it. Each row decides for itself, from
// the tiles that it has seen: its result does not depend on the rows beside it.
#pragma once

#include <cstdint>

#include "../ptx/math.cuh"
#include "vectors.cuh"

constexpr float kLn2 = 0.693147180559945309f;
constexpr float kInfinity = __builtin_huge_valf();

// Scores of kTilesM tiles of 16 rows with kTilesN tiles of 8 keys, or any other accumulators.
template <int kTilesM, int kTilesN>
using Accumulators = float[kTilesM][kTilesN][4];

template <int kTilesM>
struct OnlineSoftmax {
  static constexpr int kRows = 2 * kTilesM;  // rows 8i + g of the warp's rows
  static constexpr float kSlack = 8.0f;

  float row_max[kRows];  // of score * scale_log2, but for the slack; -inf before the first key
  float row_sum[kRows];  // of this thread's probabilities

  __device__ __forceinline__ OnlineSoftmax() {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      row_max[row] = -kInfinity;
      row_sum[row] = 0.0f;
    }
  }

  // Turns scores (-inf where a row does not see a key) into exp2(score * scale_log2 - row_max),
  // adds them to the sums, and multiplies `acc_o` as the maxima demand.
  template <int kTilesN, int kTilesO>
  __device__ __forceinline__ void step(Accumulators<kTilesM, kTilesN>& acc_s,
                                       Accumulators<kTilesM, kTilesO>& acc_o, float scale_log2) {
    float factor[kRows];
    if (raise_max(acc_s, scale_log2, factor)) {
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        row_sum[row] *= factor[row];
#pragma unroll
        for (int n = 0; n < kTilesO; ++n) {
          acc_o[row / 2][n][row % 2 * 2] *= factor[row];
          acc_o[row / 2][n][row % 2 * 2 + 1] *= factor[row];
        }
      }
    }
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      // A row that has seen no key yet has no maximum: its probabilities are exp2(-inf), not of
      // NaN.
      const float origin = row_max[row] == -kInfinity ? 0.0f : row_max[row];
      float sum[2] = {row_sum[row], 0.0f};  // two chains of additions: half the latency of one
#pragma unroll
      for (int n = 0; n < kTilesN; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = acc_s[row / 2][n][row % 2 * 2 + i];
          score = ex2(fmaf(score, scale_log2, -origin));
          sum[i] += score;
        }
      }
      row_sum[row] = sum[0] + sum[1];
    }
  }

  // What follows the last tile: `scale` is what a row's accumulators are multiplied by, `lse` the
  // natural logarithm of the sum of exponentials. A row that sees no key gives 0 and -inf.
  __device__ __forceinline__ void finish(int row, bool sees_keys, float& scale, float& lse) const {
    float sum = row_sum[row];
    sum += __shfl_xor_sync(0xffffffff, sum, 1);
    sum += __shfl_xor_sync(0xffffffff, sum, 2);
    scale = sees_keys ? rcp(sum) : 0.0f;
    lse = fmaf(row_max[row], kLn2, lg2(sum) * kLn2);
    // Scores that are all -inf have no softmax: 0 * rcp(0) is NaN above, so is this.
    if (sum == 0.0f) lse = sees_keys ? __int_as_float(0x7fffffff) : -kInfinity;
  }

 private:
  // Whether a row of the warp has a new maximum: `factor` is then what the rows' sums and outputs
  // are to be multiplied by, exactly 1 for the others.
  template <int kTilesN>
  __device__ __forceinline__ bool raise_max(const Accumulators<kTilesM, kTilesN>& acc_s,
                                            float scale_log2, float (&factor)[kRows]) {
    bool raised = false;
    float max[kRows];
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      max[row] = fmaxf(acc_s[row / 2][0][row % 2 * 2], acc_s[row / 2][0][row % 2 * 2 + 1]);
#pragma unroll
      for (int n = 1; n < kTilesN; ++n) {
        max[row] = fmaxf(max[row], acc_s[row / 2][n][row % 2 * 2]);
        max[row] = fmaxf(max[row], acc_s[row / 2][n][row % 2 * 2 + 1]);
      }
      max[row] = fmaxf(max[row], __shfl_xor_sync(0xffffffff, max[row], 1));
      max[row] = fmaxf(max[row], __shfl_xor_sync(0xffffffff, max[row], 2));
      max[row] *= scale_log2;
      // Where nothing is seen yet, -inf, every number is a new maximum, and -inf itself is none.
      raised |= max[row] - kSlack > row_max[row];
    }
    if (!__any_sync(0xffffffff, raised)) return false;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      const bool raise = max[row] - kSlack > row_max[row];
      factor[row] = raise ? ex2(row_max[row] - max[row]) : 1.0f;
      row_max[row] = raise ? max[row] : row_max[row];
    }
    return true;
  }
};

// Hides the keys that a row does not see: those from limit[row] on, counted from the tile's first.
template <int kTilesM, int kTilesN>
__device__ __forceinline__ void mask_keys(Accumulators<kTilesM, kTilesN>& acc_s,
                                          const int (&limit)[2 * kTilesM], int lane_idx) {
#pragma unroll
  for (int row = 0; row < 2 * kTilesM; ++row) {
    const int limit_of_thread = limit[row] - lane_idx % 4 * 2;
#pragma unroll
    for (int n = 0; n < kTilesN; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = acc_s[row / 2][n][row % 2 * 2 + i];
        score = n * 8 + i < limit_of_thread ? score : -kInfinity;
      }
    }
  }
}
