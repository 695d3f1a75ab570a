// debug.ptx: nvcc 13.0 -ptx -arch=compute_80 -G
__device__ __noinline__ float twice(float x) { return x + x; }

extern "C" __global__ void debug(float *out, int n) {
  __shared__ float tile[32];
  if (threadIdx.x < n) tile[threadIdx.x] = twice(out[threadIdx.x]);
  __syncthreads();
  out[threadIdx.x] = tile[31 - threadIdx.x];
}
