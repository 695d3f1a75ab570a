// silu_and_mul: out[t,f] = silu(gate_up[t,f]) * gate_up[t,intermediate+f]
//               silu(x) = x / (1 + exp(-x))
//
// Layout: gate_up [num_tokens, 2 * intermediate], the gate half first; out [num_tokens,
//         intermediate]; bf16 or f16, rows (and so both halves: intermediate is a multiple of 8)
//         16-byte aligned. f32 throughout, rounded once, at the output.
// FLOPs:  5 * num_tokens * intermediate (negate, exp, add, divide, multiply)
// Bytes:  6 * num_tokens * intermediate: gate and up read, out written
// Bound:  HBM bandwidth; the two special-function instructions of an element take under half of
//         that time. Expected on an H200: 90% of the copy rate above 64 MB moved; the rest is
//         lost at the start and in the last wave of blocks.
//
// Grid: (num_tokens, blocks a row). A block makes 2048 neighbouring outputs of one row, which
// divides the widths of the Llama models (8192, 14336, 28672, 53248); each thread has four
// independent loads in flight.
#include "common/math.cuh"
#include "common/row.cuh"

constexpr int kVectorsPerThread = SILU_AND_MUL_VECTORS_PER_THREAD;

template <typename Pair>
__device__ __forceinline__ void silu_and_mul(const SiluAndMulParams& params) {
  const int64_t token = blockIdx.x;
  const int num_vectors = params.intermediate / VECTOR_ELEMENTS;
  const char* gmem_gate = row_address(params.gate_up, token, params.gate_up_stride_token);
  const char* gmem_up = gmem_gate + params.intermediate * static_cast<int64_t>(sizeof(Pair) / 2);
  char* gmem_out = row_address(params.out, token, params.out_stride_token);
  const int first = blockIdx.y * SILU_AND_MUL_THREADS * kVectorsPerThread + threadIdx.x;

  Vector<Pair> gate[kVectorsPerThread];
  Vector<Pair> up[kVectorsPerThread];
#pragma unroll
  for (int i = 0; i < kVectorsPerThread; ++i) {
    const int vector_idx = first + i * SILU_AND_MUL_THREADS;
    if (vector_idx < num_vectors) {
      const int64_t offset = vector_idx * static_cast<int64_t>(sizeof(uint4));
      gate[i] = Vector<Pair>(ld_global_once(gmem_gate + offset));
      up[i] = Vector<Pair>(ld_global_once(gmem_up + offset));
    }
  }
#pragma unroll
  for (int i = 0; i < kVectorsPerThread; ++i) {
    const int vector_idx = first + i * SILU_AND_MUL_THREADS;
    if (vector_idx < num_vectors) {
      Vector<Pair> out;
#pragma unroll
      for (int j = 0; j < kVectorPairs; ++j) {
        const float2 g = to_f32(gate[i].pairs[j]);
        const float2 u = to_f32(up[i].pairs[j]);
        out.pairs[j] = from_f32<Pair>({silu(g.x) * u.x, silu(g.y) * u.y});
      }
      st_global(gmem_out + vector_idx * static_cast<int64_t>(sizeof(uint4)), out.bits());
    }
  }
}

extern "C" __global__ void __launch_bounds__(SILU_AND_MUL_THREADS)
    silu_and_mul_bf16(const __grid_constant__ SiluAndMulParams params) {
  silu_and_mul<__nv_bfloat162>(params);
}

extern "C" __global__ void __launch_bounds__(SILU_AND_MUL_THREADS)
    silu_and_mul_f16(const __grid_constant__ SiluAndMulParams params) {
  silu_and_mul<__half2>(params);
}
