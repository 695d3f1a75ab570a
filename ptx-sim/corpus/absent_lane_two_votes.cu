// The halves of a warp vote on different questions.
// Bug:  each vote's full mask calls for the lanes that are at the other one.
// Good: each half's mask names the lanes that vote there.

template <bool kBad>
__device__ __forceinline__ void vote(const unsigned* x, unsigned* out) {
  const unsigned lane = threadIdx.x;
  unsigned votes;
  if (lane < 16) {
    votes = __ballot_sync(kBad ? 0xffffffff : 0x0000ffff, x[lane] > 10);  // BUG
  } else {
    votes = __ballot_sync(kBad ? 0xffffffff : 0xffff0000, x[lane] > 20);  // BUG
  }
  out[lane] = votes;
}

extern "C" __global__ void bad(const unsigned* x, unsigned* out) { vote<true>(x, out); }
extern "C" __global__ void good(const unsigned* x, unsigned* out) { vote<false>(x, out); }
