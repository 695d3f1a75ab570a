// Hopper's own instructions. A source that includes this header is compiled for compute_90a.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "ptx.cuh"

// --- mbarriers

// A new mbarrier: a phase ends when `arrivals` have come, and the bytes that were announced.
__device__ __forceinline__ void mbarrier_init(uint64_t* bar, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(arrivals)
               : "memory");
}

// The end of an mbarrier: its memory may hold other things.
__device__ __forceinline__ void mbarrier_inval(uint64_t* bar) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(bar)) : "memory");
}

// Shows new mbarriers to the cluster and to the asynchronous proxy.
__device__ __forceinline__ void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void mbarrier_arrive(uint64_t* bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory");
}

// Arrives for several at once.
__device__ __forceinline__ void mbarrier_arrive_several(uint64_t* bar, uint32_t arrivals) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)),
               "r"(arrivals)
               : "memory");
}

// Arrives, and gives what names the phase in which it did.
__device__ __forceinline__ uint64_t mbarrier_arrive_state(uint64_t* bar) {
  uint64_t state;
  asm volatile("mbarrier.arrive.shared::cta.b64 %0, [%1];"
               : "=l"(state)
               : "r"(shared_address(bar))
               : "memory");
  return state;
}

// Announces so many bytes, and arrives.
__device__ __forceinline__ void mbarrier_arrive_expect(uint64_t* bar, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)),
               "r"(bytes)
               : "memory");
}

// Arrives at the mbarrier of another block of the cluster; `bar` is an address of mapa.
__device__ __forceinline__ void mbarrier_arrive_cluster(uint32_t bar) {
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(bar)
               : "memory");
}

// The same, and nothing that came before is shown to whom it wakes.
__device__ __forceinline__ void mbarrier_arrive_cluster_relaxed(uint32_t bar) {
  asm volatile("mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [%0];" ::"r"(bar)
               : "memory");
}

// Waits until the phase of a parity has ended: the first phase has parity 0. A parity of 1 asks a
// new mbarrier for the phase before its first, which counts as ended.
__device__ __forceinline__ void mbarrier_wait(uint64_t* bar, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n}" ::"r"(shared_address(bar)),
      "r"(parity)
      : "memory");
}

// The same, where other blocks of the cluster have arrived.
__device__ __forceinline__ void mbarrier_wait_cluster(uint64_t* bar, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\n"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n}" ::"r"(shared_address(bar)),
      "r"(parity)
      : "memory");
}

// Waits until the phase that an arrival was in has ended.
__device__ __forceinline__ void mbarrier_wait_state(uint64_t* bar, uint64_t state) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\n"
      "mbarrier.try_wait.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n}" ::"r"(shared_address(bar)),
      "l"(state)
      : "memory");
}

// Arrives when this thread's copies by cp.async are complete. The arrival is one that the mbarrier
// was not told of: it counts it and takes it away again.
__device__ __forceinline__ void cp_async_mbarrier_arrive(uint64_t* bar) {
  asm volatile("cp.async.mbarrier.arrive.shared::cta.b64 [%0];" ::"r"(shared_address(bar))
               : "memory");
}

// The same; the arrival is one of those that the mbarrier was initialised with.
__device__ __forceinline__ void cp_async_mbarrier_arrive_noinc(uint64_t* bar) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(bar))
               : "memory");
}

// --- the asynchronous proxy

// What ordinary instructions have written to shared memory, this thread's or what it has been
// shown, is seen by asynchronous ones.
__device__ __forceinline__ void fence_proxy_async_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// The same of global memory.
__device__ __forceinline__ void fence_proxy_async_global() {
  asm volatile("fence.proxy.async.global;" ::: "memory");
}

// --- bulk copies: addresses and sizes are multiples of 16

// From global to shared memory; `bar` is told of the bytes as they arrive.
__device__ __forceinline__ void bulk_load(void* smem, const void* gmem, uint32_t bytes,
                                          uint64_t* bar) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(shared_address(smem)),
      "l"(gmem), "r"(bytes), "r"(shared_address(bar))
      : "memory");
}

// The same into each block of the cluster whose bit is set, at the same place of its memory.
__device__ __forceinline__ void bulk_load_multicast(void* smem, const void* gmem, uint32_t bytes,
                                                    uint64_t* bar, uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1], %2, [%3], %4;" ::"r"(shared_address(smem)),
      "l"(gmem), "r"(bytes), "r"(shared_address(bar)), "h"(blocks)
      : "memory");
}

// From this block's shared memory to that of a block of the cluster; addresses of mapa.
__device__ __forceinline__ void bulk_copy_cluster(uint32_t smem_to, const void* smem_from,
                                                  uint32_t bytes, uint32_t bar) {
  asm volatile(
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(smem_to),
      "r"(shared_address(smem_from)), "r"(bytes), "r"(bar)
      : "memory");
}

// From shared to global memory, in this thread's group.
__device__ __forceinline__ void bulk_store(void* gmem, const void* smem, uint32_t bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(gmem),
               "r"(shared_address(smem)), "r"(bytes)
               : "memory");
}

// The same, added to what is there.
__device__ __forceinline__ void bulk_reduce_add_f32(void* gmem, const void* smem, uint32_t bytes) {
  asm volatile(
      "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(gmem),
      "r"(shared_address(smem)), "r"(bytes)
      : "memory");
}

// What the host has encoded of a tensor.
struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

// A box of a matrix, from column x and row y on.
__device__ __forceinline__ void tensor_load(void* smem, const TensorMap* map, int x, int y,
                                            uint64_t* bar) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3}], [%4];" ::"r"(shared_address(smem)),
      "l"(map), "r"(x), "r"(y), "r"(shared_address(bar))
      : "memory");
}

// The same into a matrix, in this thread's group.
__device__ __forceinline__ void tensor_store(const TensorMap* map, int x, int y, const void* smem) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map),
      "r"(x), "r"(y), "r"(shared_address(smem))
      : "memory");
}

// Makes a group of this thread's stores since the last one.
__device__ __forceinline__ void bulk_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Waits until at most kPending of this thread's groups are under way.
template <int kPending>
__device__ __forceinline__ void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
}

// Waits until at most kPending of them still read their sources.
template <int kPending>
__device__ __forceinline__ void bulk_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

// --- wgmma, by the four warps of a warpgroup together

// Between an access to the registers of a wgmma, or the start, and the wgmma.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// The compiler moves no access to these registers over this place: it knows nothing of the fence.
__device__ __forceinline__ void settle(float (&d)[4]) {
  asm volatile("" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])::"memory");
}

// Makes a group of the wgmma since the last one.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most kPending groups are under way.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Byte of element (row, k) of a tile of rows of 16 bf16, such as wgmma takes without a swizzle:
// matrices of 8 rows by 16 bytes, two beside each other, then the next 8 rows.
__device__ __forceinline__ uint32_t tile_byte(int row, int k) {
  return row / 8 * 256 + k / 8 * 128 + row % 8 * 16 + k % 8 * 2;
}

// The descriptor of such a tile: 128 bytes to the next matrix along k, 256 to the next 8 rows.
__device__ __forceinline__ uint64_t tile_descriptor(const void* smem) {
  const uint64_t address = (shared_address(smem) & 0x3ffff) >> 4;
  return address | 128ull / 16 << 16 | 256ull / 16 << 32;
}

// d += a * b^T: a [64, 16] and b [8, 16] of bf16 in shared memory. Of d [64, 8], a thread holds in
// d[0] and d[1] two columns of one row, in d[2] and d[3] those 8 rows below.
__device__ __forceinline__ void wgmma_bf16(float (&d)[4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, 1, 1, 1, 0, "
      "0;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "l"(a), "l"(b)
      : "memory");
}

// The same with a in registers, in the layout of mma.m16n8k16 with 16 rows a warp.
__device__ __forceinline__ void wgmma_bf16(float (&d)[4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, {%4, %5, %6, %7}, %8, "
      "1, 1, 1, 0;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)
      : "memory");
}

// Fills b [8, 16] with the numbers from 0, and a [64, 16] so that row r of the product is column
// r % 16 of b.
__device__ __forceinline__ void fill_tiles(__nv_bfloat16* smem_a, __nv_bfloat16* smem_b) {
  for (int i = threadIdx.x % 128; i < 64 * 16; i += 128) {
    const int row = i / 16, k = i % 16;
    smem_a[tile_byte(row, k) / 2] = __float2bfloat16(k == row % 16 ? 1.0f : 0.0f);
    if (row < 8) smem_b[tile_byte(row, k) / 2] = __float2bfloat16(static_cast<float>(i));
  }
}

// Writes d [64, 8].
__device__ __forceinline__ void store_product(float* out, const float (&d)[4]) {
  float* place = out + threadIdx.x % 128 / 32 * 128 + threadIdx.x % 32 * 2;
  place[0] = d[0];
  place[1] = d[1];
  place[64] = d[2];
  place[65] = d[3];
}

// Gives up registers of each thread of the warpgroup, or takes some: then it holds kRegisters.
template <int kRegisters>
__device__ __forceinline__ void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// --- clusters

__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Brings all threads of the cluster together.
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}

// The address of a shared variable in a block of the cluster.
__device__ __forceinline__ uint32_t mapa(const void* smem, uint32_t rank) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address(smem)), "r"(rank));
  return address;
}

__device__ __forceinline__ float load_cluster(uint32_t address) {
  float value;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
  return value;
}

__device__ __forceinline__ void store_cluster(uint32_t address, float value) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}

// Stores asynchronously; the mbarrier beside it is told of 4 bytes when they have arrived.
__device__ __forceinline__ void store_async(uint32_t address, float value, uint32_t bar) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];" ::"r"(
          address),
      "f"(value), "r"(bar)
      : "memory");
}

// The same, added to what is there.
__device__ __forceinline__ void add_async(uint32_t address, uint32_t value, uint32_t bar) {
  asm volatile(
      "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%0], %1, "
      "[%2];" ::"r"(address),
      "r"(value), "r"(bar)
      : "memory");
}

// --- grids that overlap, and the rest

// This block does not mind that the next grid starts.
__device__ __forceinline__ void launch_dependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// Waits until the grids before this one have ended.
__device__ __forceinline__ void wait_for_grids() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// One lane of a warp that is whole.
__device__ __forceinline__ bool elect_one() {
  uint32_t elected;
  asm volatile(
      "{\n.reg .pred elected;\nelect.sync _|elected, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, elected;\n}"
      : "=r"(elected));
  return elected != 0;
}
