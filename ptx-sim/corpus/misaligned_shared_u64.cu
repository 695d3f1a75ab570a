// Records in shared memory whose 64-bit key is read by the neighbouring lane.
// Bug:  records of 12 bytes put every other key at an address that is no multiple of 8.
// Good: records of 16 bytes keep all keys aligned; __syncwarp orders stores and reads.

template <bool kBad>
__device__ __forceinline__ void exchange_keys(const unsigned* x, unsigned long long* out) {
  constexpr unsigned kWords = kBad ? 3 : 4;
  __shared__ __align__(8) unsigned records[32 * kWords];
  const unsigned lane = threadIdx.x;
  for (unsigned word = 0; word < 3; ++word) {
    records[lane * kWords + word] = x[lane];
  }
  __syncwarp();
  const unsigned* record = &records[(lane ^ 1) * kWords];
  out[lane] = *reinterpret_cast<const unsigned long long*>(record);  // BUG
}

extern "C" __global__ void bad(const unsigned* x, unsigned long long* out) {
  exchange_keys<true>(x, out);
}
extern "C" __global__ void good(const unsigned* x, unsigned long long* out) {
  exchange_keys<false>(x, out);
}
