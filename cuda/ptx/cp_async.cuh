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
