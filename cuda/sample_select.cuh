// sample: where the count or the weight of tokens reaches a target, by their rank (histograms,
// radix selection) or by their index.
#pragma once

#include "common/weight.cuh"
#include "sample_row.cuh"

// A logit as probability: its rank, and how far it stands below the largest.
struct Token {
  uint32_t key;
  float below;  // <= 0; > 0 where the temperature is negative

  __device__ __forceinline__ uint64_t weight() const { return exp_weight(below); }
};

struct Scale {
  float temperature;
  float max;

  __device__ __forceinline__ Token token(float x) const {
    return scaled_token(temperature == 1.0f ? x : __fdiv_rn(x, temperature));
  }

  __device__ __forceinline__ Token scaled_token(float x) const {
    // The largest may be infinite, and its difference to itself no number.
    return {order_key(x), x == max ? 0.0f : __fsub_rn(x, max)};
  }
};

// exp(-27) is more than 2^-39: from here on no weight is 0.
constexpr float kLowestWithWeight = -27.0f;

// Bins of the first histogram, in equal steps of the logit. Tokens have no weight 29 below the
// largest.
constexpr float kBinsPerLogit = kBins / 29.0f;

// Lower bins hold larger logits.
__device__ __forceinline__ int logit_bin(float below) {
  return min(max(__float2int_rz(__fmul_rn(below, -kBinsPerLogit)), 0), kBins - 1);
}

// Less than the weight of any token in a bin: its lower end's, less a margin that is far above the
// rounding of bins and weights. So tokens up to the bin where these reach a mass weigh that much.
// (Where a negative temperature turns weights around, all tokens stand in bin 0.)
__device__ __forceinline__ uint64_t least_weight_in(int bin) {
  const uint64_t weight = exp_weight((bin + 1) / -kBinsPerLogit);
  return weight - weight / 512;
}

// Adds to a bin for the lanes that are `live`. Where all of them have one bin (ties), one lane does
// it for all: 32 additions to one address would wait for each other.
template <bool kWeights>
__device__ __forceinline__ void add_to_bin(Shared& shared, bool live, int bin, uint64_t weight) {
  const uint32_t lanes = __ballot_sync(kFullMask, live);
  if (lanes == 0) return;
  const int leader = __ffs(lanes) - 1;
  const int bin_of_leader = __shfl_sync(kFullMask, bin, leader);
  if (__ballot_sync(kFullMask, live && bin == bin_of_leader) == lanes) {
    const uint64_t sum = kWeights ? warp_sum(live ? weight : 0) : __popc(lanes);
    if (lane_index() != leader) return;
    if (kWeights) {
      atomicAdd(reinterpret_cast<unsigned long long*>(&shared.sums[bin]), sum);
    } else {
      atomicAdd(&shared.counts[bin], static_cast<uint32_t>(sum));
    }
  } else if (live) {
    if (kWeights) {
      atomicAdd(reinterpret_cast<unsigned long long*>(&shared.sums[bin]), weight);
    } else {
      atomicAdd(&shared.counts[bin], 1u);
    }
  }
}

// Where the mass from bin 0 on reaches a target.
struct Found {
  int bin;         // the last one where it never does
  uint64_t above;  // mass of the bins before
  uint64_t mass;   // of the bin
};

// `mass(bin)` is what a bin adds. In every thread.
template <typename Mass>
__device__ __forceinline__ Found find_bin(Shared& shared, uint64_t target, Mass mass) {
  uint64_t of_bin[kBinsPerThread];
  uint64_t sum = 0;
#pragma unroll
  for (int i = 0; i < kBinsPerThread; ++i) {
    of_bin[i] = mass(threadIdx.x * kBinsPerThread + i);
    sum += of_bin[i];
  }
  const uint64_t in_warp = warp_inclusive_scan(sum);
  const uint64_t of_warp = exchange(shared, __shfl_sync(kFullMask, in_warp, kWarpSize - 1));
  const uint64_t warps = warp_inclusive_scan(of_warp) - of_warp;
  uint64_t above = __shfl_sync(kFullMask, warps, warp_index()) + in_warp - sum;
  if (threadIdx.x == 0) {
    shared.found_bin = kBins - 1;
    shared.found_above = 0;
    shared.found_mass = 0;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kBinsPerThread; ++i) {
    if (above < target && target - above <= of_bin[i]) {
      shared.found_bin = threadIdx.x * kBinsPerThread + i;
      shared.found_above = above;
      shared.found_mass = of_bin[i];
    }
    above += of_bin[i];
  }
  __syncthreads();
  return {shared.found_bin, shared.found_above, shared.found_mass};
}

template <bool kWeights>
__device__ __forceinline__ void clear_bins(Shared& shared) {
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kBinsPerThread; ++i) {
    const int bin = threadIdx.x + i * kThreads;
    if (kWeights) {
      shared.sums[bin] = 0;
    } else {
      shared.counts[bin] = 0;
    }
  }
  __syncthreads();
}

// The key at which the mass of the tokens from the largest on reaches a target.
struct Threshold {
  uint32_t key;
  uint64_t above;  // mass of larger keys
  uint64_t mass;   // of the tokens with this key
};

// Radix selection among the tokens with weight and a key of at least `least_key`: three passes, of
// 11, 11 and 10 bits. A token's mass is its weight (kWeights) or 1. The target is at most their
// mass, and not 0.
template <bool kWeights>
__device__ __forceinline__ Threshold select(Shared& shared, const Logits& logits,
                                            const Scale& scale, uint32_t least_key,
                                            uint64_t target) {
  Threshold threshold = {0, 0, 0};
  uint32_t decided = 0;  // mask of the bits of the key that are known
#pragma unroll 1
  for (int digit = 0; digit < 3; ++digit) {
    const int shift = digit == 0 ? 21 : digit == 1 ? 10 : 0;
    const uint32_t digit_mask = digit == 2 ? 0x3FF : 0x7FF;
    clear_bins<kWeights>(shared);
    logits.for_each([&](int, float x) {
      const Token token = scale.token(x);
      const bool wanted = token.key >= least_key && (token.key & decided) == threshold.key;
      const uint64_t weight = wanted ? token.weight() : 0;
      const int bin = kBins - 1 - (token.key >> shift & digit_mask);
      add_to_bin<kWeights>(shared, weight > 0, bin, weight);
    });
    __syncthreads();
    const Found found = find_bin(shared, target - threshold.above, [&](int bin) -> uint64_t {
      return kWeights ? shared.sums[bin] : shared.counts[bin];
    });
    threshold.key |= static_cast<uint32_t>(kBins - 1 - found.bin) << shift;
    threshold.above += found.above;
    threshold.mass = found.mass;
    decided |= digit_mask << shift;
  }
  return threshold;
}

// The index of the first token whose running sum of mass(index, logit) exceeds
// target(sum over all); -1 where that sum is 0. In every thread.
template <typename Mass, typename Target>
__device__ __forceinline__ int locate(Shared& shared, const Logits& logits, Mass mass,
                                      Target target) {
  int begin = 0;
  int end = logits.vocab_size;
  uint64_t rest = 0;  // of the target, from `begin` on
#pragma unroll 1
  for (bool first = true;; first = false) {
    const int tokens = Logits::tokens_per_warp(end - begin);
    const int warp_begin = min(begin + warp_index() * tokens, end);
    uint64_t sum = 0;
    logits.for_each(warp_begin, min(warp_begin + tokens, end),
                    [&](int index, float x) { sum += mass(index, x); });
    const uint64_t of_warp = exchange(shared, warp_sum(sum));
    const uint64_t up_to = warp_inclusive_scan(of_warp);
    if (first) {
      const uint64_t total = __shfl_sync(kFullMask, up_to, kWarpSize - 1);
      if (total == 0) return -1;
      rest = target(total);
    }
    const int owner = __ffs(__ballot_sync(kFullMask, up_to > rest)) - 1;
    rest -= __shfl_sync(kFullMask, up_to - of_warp, owner);
    begin += owner * tokens;
    end = min(begin + tokens, end);
    if (tokens <= kWarpTokens) break;
  }
  // One step of a warp is left, of which every warp finds the same: first the lane, then its token.
  uint64_t sum = 0;
  logits.for_each(begin, end, [&](int index, float x) { sum += mass(index, x); });
  const uint64_t up_to = warp_inclusive_scan(sum);
  const int owner = __ffs(__ballot_sync(kFullMask, up_to > rest)) - 1;
  uint64_t running = up_to - sum;
  int found = begin + lane_index() * kTokensPerLoad;
  logits.for_each(begin, end, [&](int index, float x) {
    running += mass(index, x);
    found += running <= rest;
  });
  return __shfl_sync(kFullMask, found, owner);
}
