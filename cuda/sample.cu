// sample: chooses a token from each row of logits; reference::sample_row says how, and this gives
//         its bits. x[i] = logit of token i, divided by the repetition penalty (multiplied where
//         negative) if the token has been seen; NaN is -inf.
//           temperature 0:  the largest x, the lowest index of equal ones
//           else            w[i] = exp(x[i] / temperature - max), an integer (common/weight.cuh);
//                           top-k, top-p and min-p drop tokens; of the others the first is taken
//                           whose running sum by index exceeds random * sum(w)
//
// Layout: logits f32 [num_rows, vocab_size], rows 16-byte aligned; rows SampleRow [num_rows]; seen
//         u32 [num_seen, ceil(vocab_size / 32)]; out i32 [num_rows]. One block takes a row; warps
//         take contiguous ranges of it.
// FLOPs:  num_rows * vocab_size comparisons where greedy; about 25 a token and pass with weights
// Bytes:  num_rows * (4 * vocab_size + 52), once from HBM or, after the lm_head's matmul, L2; all
//         passes over the row but the first are from L2:
//           greedy                    1: the largest
//           no top-k, no top-p        2: + sums of 32 ranges; then parts of the range that is hit
//           top-k or top-p, at most   3: + how many tokens stand how far below the largest, + the
//             1024 tokens in reach       list of those in reach
//           more in reach (flat       6 to 12: + 3 for each threshold by radix selection, + sums,
//             rows, many ties)           ranges, ties
// Bound:  greedy by a multiprocessor's way to L2, 64 bytes a clock: 5 us for 128256 tokens on an
//         H200, whose loop takes 4 instructions a token. A pass with weights is bound by its some
//         70 instructions a token: 40 us; one that counts for top-k by half of them. With as many
//         rows as multiprocessors all of them work; a single row leaves 131 idle, which costs 1% of
//         the decode step of an 8B model. Expected: greedy at 132 rows 50% of the copy rate, the
//         rest lost in the reduction at the end of a row, during which its block loads nothing.
// Shared memory: 41 KB: a histogram of 2048 bins, the list, and sums by warp. Bank conflicts: the
// histogram's, whose bins are where the logits say, and few elsewhere. Registers: 64, as 1024
// threads ask.
#include "common/philox.cuh"
#include "common/row.cuh"
#include "common/weight.cuh"

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

// The mass of tokens that top-p keeps: the rest weighs at most 1 - top_p of the whole.
__device__ __forceinline__ uint64_t mass_to_keep(uint64_t total, float top_p) {
  const uint64_t limit = part_of(total, __fsub_rn(1.0f, top_p));
  return limit < total ? total - limit : 1;  // the most likely token stays
}

__device__ __forceinline__ uint32_t threshold_key(uint32_t key) {
  return key == kPositiveZeroKey ? kNegativeZeroKey : key;  // which are equal
}

// What the filters leave, and which of it is taken.
struct Draw {
  const int64_t* gmem_row;  // SampleRow
  int32_t top_k;            // 0 where it drops nothing
  float top_p;
  uint64_t least_weight;  // min-p

  __device__ __forceinline__ bool has_top_p() const { return top_p < 1.0f; }

  // The share of a sum that the random numbers give. Seed and counter are read here, not before, to
  // keep registers free.
  __device__ __forceinline__ uint64_t target(uint64_t total) const {
    const auto word = [&](size_t offset) { return ld_global_i64(gmem_row + offset / 8); };
    const uint64_t random =
        philox4x32_10(word(offsetof(SampleRow, position)), word(offsetof(SampleRow, sequence)),
                      word(offsetof(SampleRow, seed)));
    return __umul64hi(random, total);
  }
};

// Counts the tokens with weight by how far they stand below the largest; the sum of the weights
// where that is wanted, else 0.
__device__ __forceinline__ uint64_t count_by_logit(Shared& shared, const Logits& logits,
                                                   const Scale& scale, bool wants_sum) {
  clear_bins<false>(shared);
  uint64_t sum = 0;
  logits.for_each([&](int, float x) {
    const Token token = scale.token(x);
    bool has_weight = token.below > kLowestWithWeight;
    if (wants_sum || !has_weight) {
      const uint64_t weight = token.weight();
      has_weight = weight > 0;
      sum += weight;
    }
    add_to_bin<false>(shared, has_weight, logit_bin(token.below), 0);
  });
  return block_sum(shared, sum);
}

// The weight of all tokens from a key on.
__device__ __forceinline__ uint64_t sum_weights(Shared& shared, const Logits& logits,
                                                const Scale& scale, uint32_t least_key) {
  uint64_t sum = 0;
  logits.for_each([&](int, float x) {
    const Token token = scale.token(x);
    sum += token.key >= least_key ? token.weight() : 0;
  });
  return block_sum(shared, sum);
}

// How many tokens the histogram has in bins up to `last`.
__device__ __forceinline__ uint64_t count_up_to(Shared& shared, int last) {
  uint64_t count = 0;
#pragma unroll
  for (int i = 0; i < kBinsPerThread; ++i) {
    const int bin = threadIdx.x * kBinsPerThread + i;
    count += bin <= last ? shared.counts[bin] : 0;
  }
  return block_sum(shared, count);
}

// Lists the tokens in bins up to `last`, in any order.
__device__ __forceinline__ void list_tokens(Shared& shared, const Logits& logits,
                                            const Scale& scale, int last) {
  if (threadIdx.x == 0) {
    shared.list_size = 0;
  }
  __syncthreads();
  logits.for_each([&](int index, float x) {
    const Token token = scale.token(x);
    if (logit_bin(token.below) > last) return;
    const uint64_t weight = token.weight();
    if (weight == 0) return;
    shared.list[atomicAdd(&shared.list_size, 1)] = {weight, token.key, index};
  });
  __syncthreads();
}

// Draws among the list, which holds all tokens from the largest on that may be left: each thread
// compares its token with all others. `total` is the weight of all tokens of the row. -1 where
// min-p leaves none.
__device__ __forceinline__ int draw_from_list(Shared& shared, const Draw& draw, int size,
                                              uint64_t total) {
  const bool listed = threadIdx.x < size;
  const Candidate mine = listed ? shared.list[threadIdx.x] : Candidate{0, 0, 0};
  int rank = 0;
  uint64_t above = 0;  // weight of larger tokens
  if (listed) {
#pragma unroll 4
    for (int i = 0; i < size; ++i) {
      const Candidate other = shared.list[i];
      const bool larger =
          other.key > mine.key || (other.key == mine.key && other.index < mine.index);
      rank += larger;
      above += larger ? other.weight : 0;
    }
  }
  bool kept = listed;
  if (draw.top_k > 0) {
    if (listed && rank == draw.top_k - 1) {
      shared.threshold = threshold_key(mine.key);
    }
    __syncthreads();
    kept = listed && mine.key >= shared.threshold;
    total = block_sum(shared, kept ? mine.weight : 0);
  }
  if (draw.has_top_p()) {
    kept = kept && above < mass_to_keep(total, draw.top_p);
  }
  kept = kept && mine.weight >= draw.least_weight;
  total = block_sum(shared, kept ? mine.weight : 0);
  if (total == 0) return -1;
  if (listed && !kept) {
    shared.list[threadIdx.x].weight = 0;
  }
  __syncthreads();
  const uint64_t target = draw.target(total);
  if (kept) {
    uint64_t running = 0;
#pragma unroll 4
    for (int i = 0; i < size; ++i) {
      const Candidate other = shared.list[i];
      running += other.index <= mine.index ? other.weight : 0;
    }
    if (running > target && running - mine.weight <= target) {
      shared.token = mine.index;
    }
  }
  __syncthreads();
  return shared.token;
}

// Which tokens are left of the row: those above a key, and those with it up to an index.
struct Kept {
  uint32_t key;
  int32_t last_tie;
  uint64_t least_weight;

  __device__ __forceinline__ uint64_t mass(int index, const Token& token) const {
    const bool kept = token.key > key || (token.key == key && index <= last_tie);
    if (!kept) return 0;
    const uint64_t weight = token.weight();
    return weight >= least_weight ? weight : 0;
  }
};

// Finds the thresholds of top-k and top-p by selection over the whole row.
__device__ __forceinline__ Kept select_kept(Shared& shared, const Logits& logits,
                                            const Scale& scale, const Draw& draw, uint64_t total) {
  Kept kept = {0, INT32_MAX, draw.least_weight};
  if (draw.top_k > 0) {
    kept.key = threshold_key(select<false>(shared, logits, scale, 0, draw.top_k).key);
  }
  if (!draw.has_top_p()) return kept;
  if (draw.top_k > 0) {
    total = sum_weights(shared, logits, scale, kept.key);
  }
  const uint64_t keep = mass_to_keep(total, draw.top_p);
  const Threshold threshold = select<true>(shared, logits, scale, kept.key, keep);
  kept.key = threshold.key;
  // Equal tokens have equal weights: how many of them stay is their share of what is missing.
  const uint64_t weight = scale.scaled_token(key_value(threshold.key)).weight();
  const uint64_t ties = (keep - threshold.above + weight - 1) / weight;
  if (ties * weight < threshold.mass) {
    kept.last_tie = locate(
        shared, logits,
        [&](int, float x) -> uint64_t { return scale.token(x).key == threshold.key; },
        [&](uint64_t) { return ties - 1; });
  }
  return kept;
}

// A token by chance; -1 where min-p leaves none.
__device__ __forceinline__ int draw_token(Shared& shared, const Logits& logits, const Scale& scale,
                                          Draw draw) {
  Kept kept = {0, INT32_MAX, draw.least_weight};
  if (draw.top_k > 0 || draw.has_top_p()) {
    clear_bins<false>(shared);
    uint64_t total = count_by_logit(shared, logits, scale, draw.top_k == 0);
    if (draw.top_k > 0 && draw.top_k >= count_up_to(shared, kBins - 1)) {
      draw.top_k = 0;
      total = draw.has_top_p() ? sum_weights(shared, logits, scale, 0) : 0;
    }
    if (draw.top_k > 0 || draw.has_top_p()) {
      const uint64_t target = draw.top_k > 0 ? draw.top_k : mass_to_keep(total, draw.top_p);
      const int last = find_bin(shared, target, [&](int bin) {
                         return shared.counts[bin] * (draw.top_k > 0 ? 1 : least_weight_in(bin));
                       }).bin;
      const uint64_t in_reach = count_up_to(shared, last);
      if (in_reach <= kThreads) {
        list_tokens(shared, logits, scale, last);
        return draw_from_list(shared, draw, static_cast<int>(in_reach), total);
      }
      kept = select_kept(shared, logits, scale, draw, total);
    }
  }
  return locate(
      shared, logits, [&](int index, float x) { return kept.mass(index, scale.token(x)); },
      [&](uint64_t sum) { return draw.target(sum); });
}

extern "C" __global__ void __launch_bounds__(kThreads)
    sample_f32(const __grid_constant__ SampleParams params) {
  __shared__ Shared shared;
  const int64_t row_idx = blockIdx.x;
  const char* gmem_row = reinterpret_cast<const char*>(params.rows) +
                         row_idx * static_cast<int64_t>(sizeof(SampleRow));
  const auto setting = [&](size_t offset) { return ld_global_i32(gmem_row + offset); };
  const float temperature = __int_as_float(setting(offsetof(SampleRow, temperature)));
  const float penalty = __int_as_float(setting(offsetof(SampleRow, repetition_penalty)));
  const int32_t seen_row = setting(offsetof(SampleRow, seen_row));
  const bool has_seen = seen_row >= 0 && seen_row < params.num_seen;
  char* gmem_seen = reinterpret_cast<char*>(params.seen) +
                    seen_row * params.seen_stride_row * static_cast<int64_t>(sizeof(uint32_t));
  const char* gmem_logits =
      reinterpret_cast<const char*>(params.logits) +
      row_idx * params.logits_stride_row * static_cast<int64_t>(sizeof(float));
  // A penalty of 1 changes no bit.
  const Logits logits = {gmem_logits, has_seen && penalty != 1.0f ? gmem_seen : nullptr,
                         params.vocab_size, penalty};

  const Best best = find_best(shared, logits);
  int token = best.index;
  if (best.index >= 0 && temperature != 0.0f) {
    const Scale scale = {temperature, __fdiv_rn(best.logit, temperature)};
    const int32_t top_k = setting(offsetof(SampleRow, top_k));
    const float min_p = __int_as_float(setting(offsetof(SampleRow, min_p)));
    const Draw draw = {
        reinterpret_cast<const int64_t*>(gmem_row), top_k < params.vocab_size ? max(top_k, 0) : 0,
        __int_as_float(setting(offsetof(SampleRow, top_p))), part_of(kWeightOne, min_p)};
    // Without a number for the largest (inf / inf) no token has a weight.
    const int drawn = scale.max == scale.max ? draw_token(shared, logits, scale, draw) : -1;
    token = drawn >= 0 ? drawn : best.index;
  }
  __syncthreads();  // all warps have read the bitmap
  if (threadIdx.x == 0) {
    st_global_i32(reinterpret_cast<int32_t*>(params.out) + row_idx, token);
    if (has_seen && token >= 0) {
      red_global_or(gmem_seen + token / 32 * sizeof(uint32_t), 1u << (token % 32));
    }
    if (!has_seen && seen_row != -1 && params.error != 0) {
      red_global_or(reinterpret_cast<void*>(params.error), DEVICE_ERROR_SEEN_ROW);
    }
  }
}
