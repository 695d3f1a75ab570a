// rope_append_kv: with c = cos_sin[positions[t], i] and s = cos_sin[positions[t], head_dim/2 + i],
//                 for every head of q and k and every i < head_dim/2
//                   out[i]              = x[i] * c - x[i + head_dim/2] * s
//                   out[i + head_dim/2] = x[i + head_dim/2] * c + x[i] * s
//                 q goes to q_out[t], k and v (as it is) to slot_mapping[t] of the paged cache
//
// Layout: qkv [num_tokens, (num_q_heads + 2 * num_kv_heads) * head_dim], q_out [num_tokens,
//         num_q_heads, head_dim], caches [num_pages, page_size, num_kv_heads, head_dim] by any
//         strides (so NHD and HND); bf16 or f16, heads 16-byte aligned. cos_sin f32. Products and
//         their sum are rounded to f32 each (not fused), the result once more to 16 bits: the
//         reference's bits. An fp8 cache, as cache_fp8 says when it runs, gets the e4m3 codes of
//         k / k_scale and v / v_scale: the quotient in f32 of what is not rounded to 16 bits.
// FLOPs:  3 * num_tokens * (num_q_heads + num_kv_heads) * head_dim
// Bytes:  num_tokens * (4 * (num_q_heads + 2 * num_kv_heads) * head_dim + 4 * head_dim + 12): all
//         heads read and written, the row of angles, position and slot; 2 * num_kv_heads * head_dim
//         less a token with an fp8 cache
// Bound:  HBM bandwidth. Expected on an H200: 90% of the copy rate above 64 MB moved. The rest is
//         lost in the load of the position, which the angles' loads wait for (the heads' loads do
//         not: they are in flight by then), and in the last wave of blocks. A decode step moves
//         kilobytes: there the launch is all.
//
// A thread holds one vector of the angles and takes the two vectors that they turn, i and
// i + head_dim/2, from kHeadsPerThread heads: eight independent loads in flight, and the angles are
// read once for four heads.
// Block: (vectors of half a head, heads, tokens), at most 256 threads. Grid: (tokens, heads).
// Shared memory: none. Registers: 80, so that 768 threads fit a multiprocessor with 96 KB of loads
// in flight, several times what the memory's latency asks for.
#include "common/fp8.cuh"
#include "common/row.cuh"

constexpr int kHeadsPerThread = ROPE_APPEND_KV_HEADS_PER_THREAD;

// Cosines and sines of the pairs of one vector.
struct Angles {
  float cosines[VECTOR_ELEMENTS];
  float sines[VECTOR_ELEMENTS];

  __device__ __forceinline__ Angles(const char* gmem_cosines, const char* gmem_sines) {
    constexpr int kVectors = sizeof(cosines) / sizeof(uint4);
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const uint4 cosine_bits = ld_global_shared_by_blocks(gmem_cosines + i * sizeof(uint4));
      const uint4 sine_bits = ld_global_shared_by_blocks(gmem_sines + i * sizeof(uint4));
      __builtin_memcpy(cosines + i * VECTOR_ELEMENTS / kVectors, &cosine_bits, sizeof(uint4));
      __builtin_memcpy(sines + i * VECTOR_ELEMENTS / kVectors, &sine_bits, sizeof(uint4));
    }
  }

  // Turns pair j of each, (low, high).
  __device__ __forceinline__ void rotate(int j, float2& low, float2& high) const {
    const float2 x = low, y = high;
    const float2 c = {cosines[2 * j], cosines[2 * j + 1]};
    const float2 s = {sines[2 * j], sines[2 * j + 1]};
    low = {__fsub_rn(__fmul_rn(x.x, c.x), __fmul_rn(y.x, s.x)),
           __fsub_rn(__fmul_rn(x.y, c.y), __fmul_rn(y.y, s.y))};
    high = {__fadd_rn(__fmul_rn(y.x, c.x), __fmul_rn(x.x, s.x)),
            __fadd_rn(__fmul_rn(y.y, c.y), __fmul_rn(x.y, s.y))};
  }

  // The same of whole vectors, rounded to their type.
  template <typename Pair>
  __device__ __forceinline__ void rotate(Vector<Pair>& low, Vector<Pair>& high) const {
#pragma unroll
    for (int j = 0; j < kVectorPairs; ++j) {
      float2 x = to_f32(low.pairs[j]);
      float2 y = to_f32(high.pairs[j]);
      rotate(j, x, y);
      low.pairs[j] = from_f32<Pair>(x);
      high.pairs[j] = from_f32<Pair>(y);
    }
  }
};

__device__ __forceinline__ uint32_t encode_quotients(float2 x, float scale) {
  return encode_e4m3x2({__fdiv_rn(x.x, scale), __fdiv_rn(x.y, scale)});
}

// The e4m3 codes of two vectors over `scale`, of keys after they are turned: rounded once.
template <typename Pair>
__device__ __forceinline__ void store_codes(char* gmem_low, char* gmem_high,
                                            const Vector<Pair>& low, const Vector<Pair>& high,
                                            const Angles& angles, bool is_key, float scale) {
  uint32_t low_codes[kVectorPairs];
  uint32_t high_codes[kVectorPairs];
#pragma unroll
  for (int j = 0; j < kVectorPairs; ++j) {
    float2 x = to_f32(low.pairs[j]);
    float2 y = to_f32(high.pairs[j]);
    if (is_key) angles.rotate(j, x, y);
    low_codes[j] = encode_quotients(x, scale);
    high_codes[j] = encode_quotients(y, scale);
  }
  st_global(gmem_low, uint2{low_codes[0] | low_codes[1] << 16, low_codes[2] | low_codes[3] << 16});
  st_global(gmem_high,
            uint2{high_codes[0] | high_codes[1] << 16, high_codes[2] | high_codes[3] << 16});
}

// Where the token's keys, or its values, go.
__device__ __forceinline__ char* slot_address(uint64_t cache, int64_t page, int64_t stride_page,
                                              int64_t offset, int64_t stride_slot,
                                              int element_bytes) {
  return reinterpret_cast<char*>(cache) +
         (page * stride_page + offset * stride_slot) * element_bytes;
}

template <typename Pair>
__device__ __forceinline__ void rope_append_kv(const RopeAppendKvParams& params) {
  const int64_t token = static_cast<int64_t>(blockIdx.x) * blockDim.z + threadIdx.z;
  if (token >= params.num_tokens) return;
  const int num_q_heads = params.num_q_heads;
  const int num_rotated = num_q_heads + params.num_kv_heads;
  const int num_heads = num_rotated + params.num_kv_heads;
  const int first_head = blockIdx.y * blockDim.y * kHeadsPerThread + threadIdx.y;
  const int offset = threadIdx.x * static_cast<int>(sizeof(uint4));  // in a half head
  const int head_bytes = params.head_dim * static_cast<int>(sizeof(Pair) / 2);
  const int half_bytes = head_bytes / 2;

  int32_t position = ld_global_i32(reinterpret_cast<const int32_t*>(params.positions) + token);
  int64_t slot = ld_global_i64(reinterpret_cast<const int64_t*>(params.slot_mapping) + token);

  // Keys and values of a token that is not stored are loaded too: waiting for the slot would cost
  // every other token more.
  const char* gmem_qkv = row_address(params.qkv, token, params.qkv_stride_token) + offset;
  Vector<Pair> low[kHeadsPerThread];
  Vector<Pair> high[kHeadsPerThread];
#pragma unroll
  for (int i = 0; i < kHeadsPerThread; ++i) {
    const int head = first_head + i * blockDim.y;
    if (head < num_heads) {
      const char* gmem_head = gmem_qkv + static_cast<int64_t>(head) * head_bytes;
      low[i] = Vector<Pair>(ld_global_once(gmem_head));
      high[i] = Vector<Pair>(ld_global_once(gmem_head + half_bytes));
    }
  }

  uint32_t error = 0;
  if (position < 0 || position >= params.num_positions) {
    error |= DEVICE_ERROR_POSITION;
    position = params.num_positions - 1;
  }
  const int64_t num_slots = static_cast<int64_t>(params.num_pages) * params.page_size;
  if (slot >= num_slots) {
    error |= DEVICE_ERROR_SLOT;
    slot = -1;
  }
  const bool reports = threadIdx.x == 0 && threadIdx.y == 0 && blockIdx.y == 0;
  if (error != 0 && reports && params.error != 0) {
    red_global_or(reinterpret_cast<void*>(params.error), error);
  }

  const float* gmem_angles = reinterpret_cast<const float*>(params.cos_sin) +
                             position * params.cos_sin_stride_row + threadIdx.x * VECTOR_ELEMENTS;
  const Angles angles(reinterpret_cast<const char*>(gmem_angles),
                      reinterpret_cast<const char*>(gmem_angles + params.head_dim / 2));

  const int64_t page = slot >> (31 - __clz(params.page_size));
  const int64_t page_offset = slot & (params.page_size - 1);
  const bool is_fp8 = params.cache_fp8 != 0;
  const int cache_bytes = is_fp8 ? 1 : 2;  // of an element
  const int cache_offset = is_fp8 ? offset / 2 : offset;
  char* gmem_q = row_address(params.q_out, token, params.q_out_stride_token) + offset;
  char* gmem_k = slot_address(params.k_cache, page, params.k_stride_page, page_offset,
                              params.k_stride_slot, cache_bytes) +
                 cache_offset;
  char* gmem_v = slot_address(params.v_cache, page, params.v_stride_page, page_offset,
                              params.v_stride_slot, cache_bytes) +
                 cache_offset;
#pragma unroll
  for (int i = 0; i < kHeadsPerThread; ++i) {
    const int head = first_head + i * blockDim.y;
    const bool is_value = head >= num_rotated;
    const bool is_cached = head >= num_q_heads;
    char* gmem_out = gmem_q + head * params.q_out_stride_head * 2;
    if (is_value) {
      gmem_out = gmem_v + (head - num_rotated) * params.v_stride_head * cache_bytes;
    } else if (is_cached) {
      gmem_out = gmem_k + (head - num_q_heads) * params.k_stride_head * cache_bytes;
    }
    if (head >= num_heads || is_cached && slot < 0) continue;
    if (is_cached && is_fp8) {
      store_codes(gmem_out, gmem_out + half_bytes / 2, low[i], high[i], angles, !is_value,
                  is_value ? params.v_scale : params.k_scale);
      continue;
    }
    if (!is_value) angles.rotate(low[i], high[i]);
    st_global(gmem_out, low[i].bits());
    st_global(gmem_out + half_bytes, high[i].bits());
  }
}

extern "C" __global__ void __launch_bounds__(ROPE_APPEND_KV_MAX_THREADS)
    rope_append_kv_bf16(const __grid_constant__ RopeAppendKvParams params) {
  rope_append_kv<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(ROPE_APPEND_KV_MAX_THREADS)
    rope_append_kv_f16(const __grid_constant__ RopeAppendKvParams params) {
  rope_append_kv<__half2>(params);
}
