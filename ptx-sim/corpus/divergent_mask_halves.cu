// Both halves of a warp add up their values, each for itself, by the same instruction.
// Bug:  the lower half names itself, the upper half names all lanes.
// Good: each half names itself: the masks of one instruction may differ where they have no lane in
//       common.

template <bool kBad>
__device__ __forceinline__ void half_sums(const float* x, float* out) {
  const unsigned lane = threadIdx.x;
  const unsigned upper = kBad ? 0xffffffff : 0xffff0000;
  const unsigned mask = lane < 16 ? 0x0000ffff : upper;
  float sum = x[lane];
  for (unsigned offset = 8; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(mask, sum, offset, 16);  // BUG
  }
  out[lane] = sum;
}

extern "C" __global__ void bad(const float* x, float* out) { half_sums<true>(x, out); }
extern "C" __global__ void good(const float* x, float* out) { half_sums<false>(x, out); }
