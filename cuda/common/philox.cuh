// Philox4x32-10, the counter-based random number generator of Salmon, Moraes, Dror and Shaw,
// "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
#pragma once

#include <cstdint>

// The first 64 of the 128 random bits of a counter under a key.
__device__ __forceinline__ uint64_t philox4x32_10(uint64_t counter_low, uint64_t counter_high,
                                                  uint64_t key) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  constexpr int kRounds = 10;
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  uint32_t key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
#pragma unroll 1
  for (int round = 0; round < kRounds; ++round) {
    const uint32_t next0 = __umulhi(kMultiplier1, c2) ^ c1 ^ key0;
    const uint32_t next2 = __umulhi(kMultiplier0, c0) ^ c3 ^ key1;
    c1 = kMultiplier1 * c2;
    c3 = kMultiplier0 * c0;
    c0 = next0;
    c2 = next2;
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return static_cast<uint64_t>(c1) << 32 | c0;
}
