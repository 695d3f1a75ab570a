// Tensor cores: wgmma.m64n256k16 on tiles in shared memory, as a matrix product has it between two
// stages: rows of 64 bf16 in the swizzle of 128 bytes, four steps of 16 in a group, one group
// ahead.
#include "../../corpus/hopper.cuh"

// d += a * b^T, a [64, 16] and b [256, 16].
__device__ __forceinline__ void wgmma_m64n256k16(float (&d)[128], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "
      "%34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "
      "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, "
      "%66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, "
      "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, "
      "%98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, "
      "%111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, "
      "%124, %125, %126, %127}, %128, %129, 1, 1, 1, 0, 0;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]),
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]),
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]),
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]),
        "+f"(d[63]), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]),
        "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]),
        "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]),
        "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]),
        "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), "+f"(d[96]), "+f"(d[97]),
        "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
        "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]),
        "+f"(d[110]), "+f"(d[111]), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]),
        "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]),
        "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b)
      : "memory");
}

// Rows of 128 bytes, one after the other: 1024 bytes to the next 8, and the swizzle.
__device__ __forceinline__ uint64_t rows_descriptor(const void* smem) {
  return (shared_address(smem) & 0x3ffff) >> 4 | 1ull << 16 | 1024ull / 16 << 32 | 1ull << 62;
}

// Where an element of such rows stands: its 16 bytes move by the row.
__device__ __forceinline__ int swizzled(int row, int k) {
  return row * 64 + ((k / 8 ^ row % 8) * 8 | k % 8);
}

extern "C" __global__ void __launch_bounds__(128) wgmma(float* y, int iterations) {
  __shared__ alignas(1024) __nv_bfloat16 smem_a[64 * 64];
  __shared__ alignas(1024) __nv_bfloat16 smem_b[256 * 64];
  for (int i = 2 * threadIdx.x; i < 256 * 64; i += 256) {
    const int place = swizzled(i / 64, i % 64);
    const auto pair = [&](int period) {
      return __floats2bfloat162_rn(i % period * 0.125f - 3.0f, (i + 1) % period * 0.125f - 3.0f);
    };
    *reinterpret_cast<__nv_bfloat162*>(smem_b + place) = pair(61);
    if (i < 64 * 64) *reinterpret_cast<__nv_bfloat162*>(smem_a + place) = pair(59);
  }
  fence_proxy_async_shared();
  __syncthreads();
  const uint64_t a = rows_descriptor(smem_a);
  const uint64_t b = rows_descriptor(smem_b);
  float acc[128] = {};
#pragma unroll 1
  for (int i = 0; i < iterations; ++i) {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma_m64n256k16(acc, a + 2 * k, b + 2 * k);
    wgmma_commit();
    wgmma_wait<1>();
  }
  wgmma_wait<0>();
  // Else the compiler adds before it waits.
#pragma unroll
  for (int i = 0; i < 128; ++i) asm volatile("" : "+f"(acc[i])::"memory");
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 128; ++i) sum += acc[i];
  y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
