// Asynchronous copies of 16 bytes from global to shared memory (LDGSTS). Addresses in shared memory
// are those of its window, 32 bits: `smem_address`.
#pragma once

#include <cstdint>

__device__ __forceinline__ uint32_t smem_address(const void* smem) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(smem));
}

// Copies 16 bytes, or stores zeros where `valid` is false (then `gmem` is not read). Bypasses L1:
// a tile is read once by its block.
__device__ __forceinline__ void cp_async(uint32_t smem, const void* gmem, bool valid = true) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(smem), "l"(gmem),
               "r"(valid ? 16 : 0)
               : "memory");
}

// The same of weights, which a launch reads once: they leave L2 first, whose room belongs to the
// activations. `policy` is evict_first_policy().
__device__ __forceinline__ void cp_async_stream(uint32_t smem, const void* gmem, uint64_t policy,
                                                bool valid) {
  asm volatile(
      "cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" ::"r"(smem),
      "l"(gmem), "r"(valid ? 16 : 0), "l"(policy)
      : "memory");
}

// The same of what the blocks of a multiprocessor read again and again, and none writes: kept in
// L1.
__device__ __forceinline__ void cp_async_shared_by_blocks(uint32_t smem, const void* gmem,
                                                          bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(smem), "l"(gmem),
               "r"(valid ? 16 : 0)
               : "memory");
}

// Copies one word, likewise.
__device__ __forceinline__ void cp_async_word(uint32_t smem, const void* gmem, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(smem), "l"(gmem),
               "r"(valid ? 4 : 0)
               : "memory");
}

// Ends a group of copies: what `cp_async_wait` counts.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most kPending of this thread's groups are still under way. Other threads' copies
// need a barrier after it.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
