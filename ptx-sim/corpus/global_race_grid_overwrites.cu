// A grid that may start before the one in front of it has ended, and has its output in what that
// one reads.
// Bug:  it stores before griddepcontrol.wait: it reads nothing of the other's, and waits last.
// Good: it waits first.
#include "hopper.cuh"

// The grid before: each block turns its part of x around, through y.
extern "C" __global__ void before(const float* x, float* y) {
  launch_dependents();
  const int i = blockIdx.x * blockDim.x;
  y[i + threadIdx.x] = x[i + blockDim.x - 1 - threadIdx.x];  // BUG
}

template <bool kBad>
__device__ __forceinline__ void count(float* x) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (!kBad) wait_for_grids();
  x[i] = 2.0f * i;  // BUG
  if (kBad) wait_for_grids();
}

extern "C" __global__ void bad(float* x) { count<true>(x); }
extern "C" __global__ void good(float* x) { count<false>(x); }
