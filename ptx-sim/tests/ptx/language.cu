// Features of C++ that show in PTX. language.ptx: nvcc 13.0 -ptx -arch=compute_80 -std=c++17 -lineinfo
#include <cassert>
#include <cstdio>

struct Params {
  int a;
  double b;
  float c[3];
};

struct Node {
  const int *next;
  char tag;
};

__device__ int values[4] = {1, 2, 3, 4};
__device__ const char *const names[2] = {"one", "two"};
__device__ Node nodes[2] = {{values + 1, 'x'}, {nullptr, 'y'}};
__constant__ float coefficients[3] = {1.5f, -2.25f, 1e-30f};
__managed__ int managed = 7;

__device__ __noinline__ Params scale(Params p, int x) {
  p.a *= x;
  return p;
}

using Function = int (*)(int);
__device__ __noinline__ int square(int x) { return x * x; }
__device__ __noinline__ int minus7(int x) { return x - 7; }
__device__ Function functions[2] = {square, minus7};

template <class F>
__device__ int sum(F f, int n) {
  int s = 0;
#pragma unroll 1
  for (int i = 0; i < n; ++i) s += f(i);
  return s;
}

__device__ void wait(int *flag) {
  asm volatile(
      "{\n.reg .pred p;\n.reg .b32 v;\nLAB_WAIT:\nld.global.b32 v, [%0];\nsetp.ne.b32 p, v, 0;\n"
      "@p bra DONE;\nbra LAB_WAIT;\nDONE:\n}" ::"l"(flag));
}

extern "C" __global__ void __launch_bounds__(128, 2) language(Params p, int *out, int n) {
  __shared__ int tile[128];
  extern __shared__ __align__(16) char smem[];
  int local[8];
#pragma unroll 1
  for (int i = 0; i < n; i++) local[(i * 7) & 7] = i;
  tile[threadIdx.x] = local[n & 7];
  __syncthreads();
  assert(n > 0);
  printf("%d\n", n);
  wait(out);
  wait(out + 1);
  out[0] = scale(p, n).a + functions[n & 1](n) + names[n & 1][0] + nodes[n & 1].tag + managed;
  out[1] = sum([=](int i) { return i * n + p.a; }, n) + tile[127 - threadIdx.x] + smem[n];
  out[2] = coefficients[n % 3];
}
