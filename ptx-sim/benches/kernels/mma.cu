// Tensor cores: ldmatrix and mma.m16n8k16 on a tile in shared memory.
#include <cuda_fp16.h>

#include <cstdint>

extern "C" __global__ void mma(float* y, int iterations) {
  __shared__ alignas(16) half tile[64 * 72];
  for (int i = threadIdx.x; i < 64 * 72; i += blockDim.x)
    tile[i] = __float2half((i % 61) * 0.125f - 3.0f);
  __syncthreads();
  int lane_idx = threadIdx.x % 32;
  uint32_t base = (uint32_t)__cvta_generic_to_shared(tile);
  float acc[8][4] = {};
  for (int k = 0; k < iterations; ++k) {
    uint32_t a[4];
    uint32_t address = base + ((lane_idx % 16) * 72 + (lane_idx / 16) * 8 + (k % 4) * 16) * 2;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(address));
#pragma unroll
    for (int n = 0; n < 8; ++n)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
          "{%8,%9}, "
          "{%0,%1,%2,%3};"
          : "+f"(acc[n][0]), "+f"(acc[n][1]), "+f"(acc[n][2]), "+f"(acc[n][3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[n % 4]), "r"(a[(n + 1) % 4]));
  }
  float sum = 0;
  for (int n = 0; n < 8; ++n) sum += acc[n][0] + acc[n][1] + acc[n][2] + acc[n][3];
  y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
