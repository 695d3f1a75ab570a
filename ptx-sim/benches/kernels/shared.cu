// Shared memory alone: a tile is transposed again and again.
extern "C" __global__ void shared_memory(float* y, int iterations) {
  __shared__ float tile[32][33];
  int x = threadIdx.x % 32, first = threadIdx.x / 32, step = blockDim.x / 32;
  for (int r = first; r < 32; r += step) tile[r][x] = r * 32 + x;
  for (int k = 0; k < iterations; ++k) {
    __syncthreads();
    float values[4];
    for (int i = 0; i < 4; ++i) values[i] = tile[x][first + i * step];
    __syncthreads();
    for (int i = 0; i < 4; ++i) tile[first + i * step][x] = values[i];
  }
  y[blockIdx.x * blockDim.x + threadIdx.x] = tile[first][x];
}
