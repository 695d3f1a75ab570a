// A grid that may start before the one in front of it has ended, whose results it reads.
// Bug:  they are read ahead, before griddepcontrol.wait.
// Good: after it.
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
  float value = 0.0f;
  if (kBad) value = workspace[i];  // BUG
  wait_for_grids();
  if (!kBad) value = workspace[i];
  out[i] = value + 1.0f;
}

extern "C" __global__ void bad(const float* workspace, float* out) {
  add_one<true>(workspace, out);
}
extern "C" __global__ void good(const float* workspace, float* out) {
  add_one<false>(workspace, out);
}
