// Partial sums of two halves of K in a workspace that nobody has zeroed.
// Bug:  the first half is added to the workspace's contents.
// Good: the first half is stored; each element belongs to one thread.

template <bool kBad>
__device__ __forceinline__ void split_sum(const float* x, float* workspace, float* out) {
  const unsigned i = threadIdx.x;
  for (unsigned split = 0; split < 2; ++split) {
    const float part = x[128 * split + i];
    if (kBad || split > 0) {
      workspace[i] += part;  // BUG
    } else {
      workspace[i] = part;
    }
  }
  out[i] = workspace[i];
}

extern "C" __global__ void bad(const float* x, float* workspace, float* out) {
  split_sum<true>(x, workspace, out);
}
extern "C" __global__ void good(const float* x, float* workspace, float* out) {
  split_sum<false>(x, workspace, out);
}
