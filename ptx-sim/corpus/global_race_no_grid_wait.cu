// A grid that may start before the one in front of it has ended, whose results it reads.
// Bug:  launch_dependents lets it start, and shows it nothing.
// Good: griddepcontrol.wait does.
#include "hopper.cuh"

// The grid before: lets the next one start when each of its blocks has stored.
extern "C" __global__ void before(float* workspace) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  workspace[i] = 2.0f * i;  // BUG
  launch_dependents();
}

template <bool kBad>
__device__ __forceinline__ void add_one(const float* workspace, float* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (!kBad) wait_for_grids();
  out[i] = workspace[i] + 1.0f;  // BUG
}

extern "C" __global__ void bad(const float* workspace, float* out) {
  add_one<true>(workspace, out);
}
extern "C" __global__ void good(const float* workspace, float* out) {
  add_one<false>(workspace, out);
}
