// sample: the row of logits of a block, what its threads share, and the largest logit.
#pragma once

#include "common/row.cuh"

constexpr int kThreads = SAMPLE_THREADS;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kTokensPerLoad = 4;
constexpr int kWarpTokens = kWarpSize * kTokensPerLoad;
constexpr int kLoads = 4;  // independent loads in flight of a thread where a pass waits for them
constexpr int kBins = 2048;
constexpr int kBinsPerThread = kBins / kThreads;
constexpr uint32_t kFullMask = 0xffffffffu;
static_assert(kWarps == kWarpSize, "a warp scans the sums of all warps");

// A token whose rank decides: one a thread.
struct alignas(16) Candidate {
  uint64_t weight;
  uint32_t key;
  int32_t index;
};

struct Shared {
  Candidate list[kThreads];
  uint64_t sums[kBins];
  uint32_t counts[kBins];
  uint64_t of_warp[kWarps];
  int32_t best_index[kWarps];
  float best_logit[kWarps];
  uint64_t found_above;
  uint64_t found_mass;
  int32_t found_bin;
  int32_t list_size;
  uint32_t threshold;
  int32_t token;
};

__device__ __forceinline__ int lane_index() { return threadIdx.x % kWarpSize; }
__device__ __forceinline__ int warp_index() { return threadIdx.x / kWarpSize; }

__device__ __forceinline__ uint64_t warp_sum(uint64_t value) {
#pragma unroll
  for (int lane_mask = kWarpSize / 2; lane_mask > 0; lane_mask /= 2) {
    value += __shfl_xor_sync(kFullMask, value, lane_mask);
  }
  return value;
}

// The sum of this lane's value and all lower lanes'.
__device__ __forceinline__ uint64_t warp_inclusive_scan(uint64_t value) {
#pragma unroll
  for (int distance = 1; distance < kWarpSize; distance *= 2) {
    const uint64_t lower = __shfl_up_sync(kFullMask, value, distance);
    value += lane_index() >= distance ? lower : 0;
  }
  return value;
}

// What each warp gives, in the lane of its number, in every warp.
__device__ __forceinline__ uint64_t exchange(Shared& shared, uint64_t of_warp) {
  __syncthreads();  // whoever read the last exchange has done so
  if (lane_index() == 0) {
    shared.of_warp[warp_index()] = of_warp;
  }
  __syncthreads();
  return shared.of_warp[lane_index()];
}

// The sum over the block, in every thread.
__device__ __forceinline__ uint64_t block_sum(Shared& shared, uint64_t value) {
  return warp_sum(exchange(shared, warp_sum(value)));
}

// A row of logits, and what is done to each before anything else.
struct Logits {
  const char* gmem_logits;
  const char* gmem_seen;  // null where no logit is penalised
  int vocab_size;
  float penalty;

  // Four logits from `index` on, a multiple of 4; NaN from `end` on, which is a multiple of 4 or
  // the row's.
  __device__ __forceinline__ float4 load(int index, int end) const {
    const float nan = __int_as_float(0x7fffffff);
    float4 x = {nan, nan, nan, nan};
    const char* gmem = gmem_logits + index * static_cast<int64_t>(sizeof(float));
    if (index + kTokensPerLoad <= end) {
      const uint4 bits = ld_global_once(gmem);
      x = {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z),
           __uint_as_float(bits.w)};
    } else if (index < end) {
      x.x = __int_as_float(ld_global_i32(gmem));
      if (index + 1 < end) x.y = __int_as_float(ld_global_i32(gmem + sizeof(float)));
      if (index + 2 < end) x.z = __int_as_float(ld_global_i32(gmem + 2 * sizeof(float)));
    }
    return x;
  }

  // The bits of the same four tokens.
  __device__ __forceinline__ uint32_t load_seen(int index) const {
    if (gmem_seen == nullptr || index >= vocab_size) return 0;
    const uint32_t word = ld_global_i32(gmem_seen + index / 32 * sizeof(uint32_t));
    return word >> (index % 32);
  }

  // With the penalty, and +0 for -0.
  __device__ __forceinline__ float penalised(float x, bool seen) const {
    if (seen) {
      x = x < 0.0f ? __fmul_rn(x, penalty) : __fdiv_rn(x, penalty);
    }
    return __fadd_rn(x, 0.0f);
  }

  // Calls body(index, logit) for the tokens of [begin, end), of which `begin` is a multiple of 4
  // and `end` too, if it is not the row's. A warp's lanes call it together, with NaN where a lane
  // has no token. The next four are loaded meanwhile: that is enough for bodies that compute
  // weights, and leaves them a loop that fits the instruction cache.
  template <typename Body>
  __device__ __forceinline__ void for_each(int begin, int end, Body body) const {
    int index = begin + lane_index() * kTokensPerLoad;
    float4 next = load(index, end);
    uint32_t next_seen = load_seen(index);
#pragma unroll 1
    for (int step = begin; step < end; step += kWarpTokens) {
      const float4 x = next;
      const uint32_t seen = next_seen;
      next = load(index + kWarpTokens, end);
      next_seen = load_seen(index + kWarpTokens);
      body(index, penalised(x.x, seen & 1));
      body(index + 1, penalised(x.y, seen & 2));
      body(index + 2, penalised(x.z, seen & 4));
      body(index + 3, penalised(x.w, seen & 8));
      index += kWarpTokens;
    }
  }

  // The same for the warp's part of the row.
  template <typename Body>
  __device__ __forceinline__ void for_each(Body body) const {
    const int tokens = tokens_per_warp(vocab_size);
    const int begin = min(warp_index() * tokens, vocab_size);
    for_each(begin, min(begin + tokens, vocab_size), body);
  }

  // The same for bodies that take less time than a load: several loads in flight. Penalties are for
  // the other.
  template <typename Body>
  __device__ __forceinline__ void for_each_unpenalised(Body body) const {
    const int tokens = tokens_per_warp(vocab_size);
    int begin = min(warp_index() * tokens, vocab_size);
    const int end = min(begin + tokens, vocab_size);
#pragma unroll 1
    for (; begin + kLoads * kWarpTokens <= end; begin += kLoads * kWarpTokens) {
      const int first = begin + lane_index() * kTokensPerLoad;
      const char* gmem = gmem_logits + first * static_cast<int64_t>(sizeof(float));
      uint4 bits[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        bits[i] = ld_global_once(gmem + i * kWarpTokens * sizeof(float));
      }
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        const int index = first + i * kWarpTokens;
        body(index, __uint_as_float(bits[i].x));
        body(index + 1, __uint_as_float(bits[i].y));
        body(index + 2, __uint_as_float(bits[i].z));
        body(index + 3, __uint_as_float(bits[i].w));
      }
    }
    for_each(begin, end, body);
  }

  // Of a range of `tokens`.
  __device__ static __forceinline__ int tokens_per_warp(int tokens) {
    constexpr int kStep = kWarps * kWarpTokens;
    return (tokens + kStep - 1) / kStep * kWarpTokens;
  }
};

struct Best {
  float logit;
  int32_t index;  // -1 where no logit is above -inf
};

__device__ __forceinline__ Best better(const Best& a, float logit, int32_t index) {
  const bool wins = index >= 0 && (logit > a.logit || (logit == a.logit && index < a.index));
  return wins ? Best{logit, index} : a;
}

// The largest logit, in every thread.
__device__ __forceinline__ Best find_best(Shared& shared, const Logits& logits) {
  Best best = {__int_as_float(0xff800000), -1};
  // A lane's indices ascend: the first of equal ones stays.
  const auto compare = [&](int index, float x) {
    if (x > best.logit) best = {x, index};
  };
  if (logits.gmem_seen == nullptr) {
    logits.for_each_unpenalised(compare);
  } else {
    logits.for_each(compare);
  }
  best.logit = __fadd_rn(best.logit, 0.0f);  // +0 for -0, as with penalties
#pragma unroll
  for (int lane_mask = kWarpSize / 2; lane_mask > 0; lane_mask /= 2) {
    const float logit = __shfl_xor_sync(kFullMask, best.logit, lane_mask);
    best = better(best, logit, __shfl_xor_sync(kFullMask, best.index, lane_mask));
  }
  if (lane_index() == 0) {
    shared.best_logit[warp_index()] = best.logit;
    shared.best_index[warp_index()] = best.index;
  }
  __syncthreads();
  best = {shared.best_logit[lane_index()], shared.best_index[lane_index()]};
#pragma unroll
  for (int lane_mask = kWarpSize / 2; lane_mask > 0; lane_mask /= 2) {
    const float logit = __shfl_xor_sync(kFullMask, best.logit, lane_mask);
    best = better(best, logit, __shfl_xor_sync(kFullMask, best.index, lane_mask));
  }
  return best;
}
