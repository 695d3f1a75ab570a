// The odd lanes of a warp vote.
// Bug:  the mask has as many bits as there are voters, but not the voters' bits.
// Good: the mask names the odd lanes.

template <bool kBad>
__device__ __forceinline__ void vote(const unsigned* x, unsigned* out) {
  const unsigned lane = threadIdx.x;
  unsigned votes = 0;
  if (lane % 2 == 1) {
    votes = __ballot_sync(kBad ? 0x0000ffff : 0xaaaaaaaa, x[lane] > 10);  // BUG
  }
  out[lane] = votes;
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { vote<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { vote<false>(x, out); }
