// Appends to a cache of two pages, given as a struct; the first page has been released.
// Bug:  page 0 is written.
// Good: the live page is written, as the struct says.

struct Cache {
  float* page[2];
  unsigned live;
};

template <bool kBad>
__device__ __forceinline__ void append(const Cache& cache) {
  float* page = cache.page[kBad ? 0 : cache.live];
  page[threadIdx.x] = static_cast<float>(threadIdx.x);  // BUG
}

extern "C" __global__ void bad(const __grid_constant__ Cache cache) { append<true>(cache); }
extern "C" __global__ void good(const __grid_constant__ Cache cache) { append<false>(cache); }
