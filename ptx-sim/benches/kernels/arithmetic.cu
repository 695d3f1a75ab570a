// Arithmetic alone: fused multiply-adds and integer operations in registers.
extern "C" __global__ void arithmetic(float* y, int iterations) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float a = i * 0.5f, b = i + 1.0f, c = 0.25f, d = 1.0f;
  unsigned n = i;
  for (int k = 0; k < iterations; ++k) {
    a = fmaf(a, c, d);
    b = fmaf(b, c, a);
    n = n * 1664525u + 1013904223u;
    d = d * 0.5f + (float)(n >> 24);
    c = fminf(c + b * 1e-9f, 0.5f);
    n ^= n >> 3;
  }
  y[i] = a + b + c + d + n;
}
