// attention_combine: out = sum_s exp(lse_s - lse) * partial_s,  lse = log(sum_s exp(lse_s)):
//                    attention over all keys, from attention over disjoint parts of them
//
// Layout: partial_out f32 [splits, rows, heads, head_dim], partial_lse f32 [splits, rows, heads]
//         (natural), out [tokens, heads, head_dim] in bf16 or f16, lse f32 [tokens, heads] if asked
//         for. A part whose lse is -inf is not read; where all are, out is 0 and lse -inf. f32
//         throughout, rounded once, at the output. Rows are tokens; behind attention_decode they
//         are counted from its sequences, and a list says which token each is.
// FLOPs:  rows * heads * splits * (2 * head_dim + 4)
// Bytes:  rows * heads * (splits * (4 * head_dim + 4) + 2 * head_dim + 4 with lse)
// Bound:  HBM (behind attention_decode: L2) bandwidth. Expected on an H200: 90% of the copy rate
//         above 64 MB. At decode sizes latency is all: two trips to memory (a part follows its lse)
//         and one barrier for up to 32 splits, a trip more for each 32 beyond.
//
// Tile: a thread has four elements of a (token, head) row: head_dim / 4 threads (x) to a row. The
// splits of a row are dealt to 8 groups of threads (y): group g adds up the splits g, g + 8, …,
// four in flight, and the groups are added in order, by way of shared memory (24 bytes a thread).
// So the order of additions depends on the number of a split alone, and splits without keys change
// no bit, however many there are.
#include "common/vectors.cuh"
#include "ptx/ldst.cuh"

constexpr int kSplitGroups = ATTENTION_COMBINE_SPLIT_GROUPS;
constexpr int kSplitsInFlight = ATTENTION_COMBINE_SPLITS_IN_FLIGHT;
constexpr int kMaxThreads = 1024;
constexpr float kLog2e = 1.4426950408889634f;

// What some parts come to: the sum of their weights exp(lse_s - max), and of the weighted parts.
struct Merged {
  float max = -INFINITY;
  float sum = 0.0f;
  float4 out = {0.0f, 0.0f, 0.0f, 0.0f};

  // Takes `next`, at least as large, for the maximum.
  __device__ __forceinline__ void raise(float next) {
    if (max == next) return;  // so that -inf is never subtracted from itself
    const float scale = exp2f((max - next) * kLog2e);
    max = next;
    sum *= scale;
    out.x *= scale;
    out.y *= scale;
    out.z *= scale;
    out.w *= scale;
  }

  // Adds parts whose maximum is `part_max`, at most as large as this one. A NaN stays one.
  __device__ __forceinline__ void add(float part_max, float part_sum, const float4& part) {
    const float weight = exp2f((part_max - max) * kLog2e);
    sum = fmaf(weight, part_sum, sum);
    out.x = fmaf(weight, part.x, out.x);
    out.y = fmaf(weight, part.y, out.y);
    out.z = fmaf(weight, part.z, out.z);
    out.w = fmaf(weight, part.w, out.w);
  }
};

__device__ __forceinline__ float4 as_f32(const uint4& bits) {
  return {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z),
          __uint_as_float(bits.w)};
}

// The splits of one row that belong to this thread's group.
__device__ __forceinline__ Merged merge_group(const AttentionCombineParams& params, int64_t row,
                                              int head) {
  const char* gmem_lse = reinterpret_cast<const char*>(params.partial_lse) +
                         (row * params.partial_lse_stride_token + head) * sizeof(float);
  const char* gmem_part =
      reinterpret_cast<const char*>(params.partial_out) +
      (row * params.partial_stride_token + head * params.partial_stride_head + threadIdx.x * 4) *
          sizeof(float);
  const int64_t lse_stride = params.partial_lse_stride_split * sizeof(float);
  const int64_t part_stride = params.partial_stride_split * sizeof(float);

  float next_lse[kSplitsInFlight];
  const auto load_lse = [&](int first) {
#pragma unroll
    for (int i = 0; i < kSplitsInFlight; ++i) {
      const int64_t split = first + i * kSplitGroups;
      next_lse[i] =
          split < params.num_splits ? ld_global_f32(gmem_lse + split * lse_stride) : -INFINITY;
    }
  };

  Merged merged;
  load_lse(threadIdx.y);
  for (int first = threadIdx.y; first < params.num_splits;
       first += kSplitGroups * kSplitsInFlight) {
    float lse[kSplitsInFlight];
    uint4 part[kSplitsInFlight] = {};
    float max = merged.max;
#pragma unroll
    for (int i = 0; i < kSplitsInFlight; ++i) {
      lse[i] = next_lse[i];
      if (lse[i] != -INFINITY) {
        part[i] = ld_global_once(gmem_part + (first + i * kSplitGroups) * part_stride);
      }
      max = fmaxf(max, lse[i]);
    }
    load_lse(first + kSplitGroups * kSplitsInFlight);  // on the way while the parts are
    merged.raise(max);
#pragma unroll
    for (int i = 0; i < kSplitsInFlight; ++i) {
      if (lse[i] != -INFINITY) merged.add(lse[i], 1.0f, as_f32(part[i]));
    }
  }
  return merged;
}

// The groups of a row, in order; right in the threads of the first.
__device__ __forceinline__ Merged merge_groups(const Merged& mine) {
  extern __shared__ float4 smem_out[];  // [rows, groups, head_dim / 4], then the states
  float2* smem_state = reinterpret_cast<float2*>(smem_out + blockDim.x * blockDim.y * blockDim.z);
  const int group = threadIdx.z * blockDim.y + threadIdx.y;
  smem_out[group * blockDim.x + threadIdx.x] = mine.out;
  if (threadIdx.x == 0) smem_state[group] = {mine.max, mine.sum};
  __syncthreads();

  Merged merged = mine;
  if (threadIdx.y != 0) return merged;
  for (int i = 1; i < blockDim.y; ++i) {
    const float2 state = smem_state[group + i];
    if (state.y == 0.0f) continue;  // a group that saw no key
    merged.raise(fmaxf(merged.max, state.x));
    merged.add(state.x, state.y, smem_out[(group + i) * blockDim.x + threadIdx.x]);
  }
  return merged;
}

template <typename Pair>
__device__ __forceinline__ void attention_combine(const AttentionCombineParams& params) {
  const uint32_t idx = blockIdx.x * blockDim.z + threadIdx.z;  // below 2^31, see the plan
  const int row = idx / params.num_heads;
  const int head = idx - row * params.num_heads;
  int token = row;  // of `out`; -1 where no query stands there
  int num_rows = params.num_tokens;
  if (params.queries != 0) {
    // Asked for with the logarithms, which are -inf where there is no query.
    const int seq = row / params.max_q_len;
    num_rows = params.num_seqs * params.max_q_len;
    int2 queries = {0, 0};
    if (row < num_rows) {
      queries = ld_global_i32x2(reinterpret_cast<const char*>(params.queries) + seq * 8ll);
    }
    const int query = row - seq * params.max_q_len;
    token = query < queries.y ? queries.x + query : -1;
  }

  // A thread without a row stays for the barrier.
  Merged merged;
  if (row < num_rows) merged = merge_group(params, row, head);
  if (blockDim.y > 1) merged = merge_groups(merged);
  if (row >= num_rows || token < 0 || threadIdx.y != 0) return;

  const float scale = merged.sum == 0.0f ? 0.0f : 1.0f / merged.sum;
  const Pair pairs[2] = {from_f32<Pair>({merged.out.x * scale, merged.out.y * scale}),
                         from_f32<Pair>({merged.out.z * scale, merged.out.w * scale})};
  uint2 bits;
  __builtin_memcpy(&bits, pairs, sizeof(bits));
  char* gmem_out = row_address(params.out, token, params.out_stride_token) +
                   (head * params.out_stride_head + threadIdx.x * 4) * 2;
  st_global(gmem_out, bits);
  if (params.lse != 0 && threadIdx.x == 0) {
    char* gmem_lse = reinterpret_cast<char*>(params.lse);
    st_global_f32(gmem_lse + (token * params.lse_stride_token + head) * sizeof(float),
                  merged.max + logf(merged.sum));
  }
}

extern "C" __global__ void __launch_bounds__(kMaxThreads)
    attention_combine_bf16(const __grid_constant__ AttentionCombineParams params) {
  attention_combine<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(kMaxThreads)
    attention_combine_f16(const __grid_constant__ AttentionCombineParams params) {
  attention_combine<__half2>(params);
}
