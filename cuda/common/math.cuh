// Functions of the Llama family in f32.
#pragma once

// x * sigmoid(x), within a few ulp for |x| < 87. Below, exp(-x) grows out of f32: the quotient is
// then -0 instead of a number under 1e-36, which no 16-bit sum can tell apart.
__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }
