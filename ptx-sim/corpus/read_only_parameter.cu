// Advances a position that lies in the kernel's parameters.
// Bug:  parameters are shared by all threads of the grid and cannot be written.
// Good: a copy of the position is advanced.

struct Params {
  unsigned* out;
  unsigned position;
};

template <bool kBad>
__device__ __forceinline__ void advance(const Params& params) {
  unsigned copy = params.position;
  unsigned* position = kBad ? const_cast<unsigned*>(&params.position) : &copy;
  *position += threadIdx.x;  // BUG
  params.out[threadIdx.x] = *position;
}

extern "C" __global__ void bad(const __grid_constant__ Params params) { advance<true>(params); }
extern "C" __global__ void good(const __grid_constant__ Params params) { advance<false>(params); }
