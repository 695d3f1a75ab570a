// decode_e4m3x4 alone, for tests: of each word of codes both pairs, those of the form that knows no
// NaN, and what they are to be multiplied by.
#include "../../cuda/common/fp8.cuh"

extern "C" __global__ void decode_e4m3(const uint32_t* gmem_codes, uint4* gmem_out) {
  const uint32_t codes = gmem_codes[threadIdx.x];
  const uint2 any = decode_e4m3x4(codes);
  const uint2 finite = decode_e4m3x4<false>(codes);
  gmem_out[2 * threadIdx.x] = {any.x, any.y, finite.x, finite.y};
  gmem_out[2 * threadIdx.x + 1] = {__float_as_uint(kE4m3Unit), 0, 0, 0};
}
