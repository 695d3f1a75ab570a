// out = transposed in, for a square matrix whose size is a multiple of 32, through a tile in
// shared memory. Blocks of 32 x 8.
constexpr int kTile = 32;
constexpr int kRows = 8;

template <int kPitch>
__device__ void transpose_through(const float* in, float* out, int size) {
  __shared__ float tile[kTile][kPitch];
  int column = blockIdx.x * kTile + threadIdx.x;
  int row = blockIdx.y * kTile + threadIdx.y;
  for (int j = 0; j < kTile; j += kRows)
    tile[threadIdx.y + j][threadIdx.x] = in[(row + j) * size + column];
  __syncthreads();
  column = blockIdx.y * kTile + threadIdx.x;
  row = blockIdx.x * kTile + threadIdx.y;
  for (int j = 0; j < kTile; j += kRows)
    out[(row + j) * size + column] = tile[threadIdx.x][threadIdx.y + j];
}

// A column of the tile lies in one bank.
extern "C" __global__ void transpose(const float* in, float* out, int size) {
  transpose_through<kTile>(in, out, size);
}

// One element of padding a row spreads the column over all banks.
extern "C" __global__ void transpose_padded(const float* in, float* out, int size) {
  transpose_through<kTile + 1>(in, out, size);
}
