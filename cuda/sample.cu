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
#include "sample_select.cuh"

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
