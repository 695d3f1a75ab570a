// Inline PTX as Hopper kernels have it. hopper.ptx: nvcc 13.0 -ptx -arch=compute_90a -std=c++17 -lineinfo
#include <cstdint>
struct alignas(64) TensorMap {
  char bytes[128];
};

__device__ uint32_t shared_address(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ void wait(uint64_t *bar, int phase) {
  asm volatile(
      "{\n.reg .pred P1;\nLAB_WAIT:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 P1, [%0], %1;\n@P1 bra DONE;\nbra LAB_WAIT;\nDONE:\n}" ::"r"(
          shared_address(bar)),
      "r"(phase));
}

__device__ bool elect() {
  uint32_t elected;
  asm volatile(
      "{\n.reg .b32 %%rx;\n.reg .pred %%px;\n elect.sync %%rx|%%px, %1;\n@%%px mov.s32 %0, 1;\n"
      "@!%%px mov.s32 %0, 0;\n}\n" : "=r"(elected) : "r"(0xFFFFFFFF));
  return elected;
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(128)
    hopper(const __grid_constant__ TensorMap map, float *out, int x, int y) {
  extern __shared__ __align__(1024) char tile[];
  __shared__ uint64_t bar;
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&bar)), "r"(1));
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\n" ::: "memory");
  asm volatile("barrier.cluster.wait.aligned;\n" ::: "memory");
  if (elect()) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&bar)), "r"(4096));
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(shared_address(tile)), "l"(&map), "r"(shared_address(&bar)), "r"(x),
        "r"(y), "l"(0x14F0000000000000)
        : "memory");
  }
  wait(&bar, 0);
  wait(&bar, 1);
  float d[4] = {};
  uint64_t descriptor = shared_address(tile) >> 4;
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, p, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "l"(descriptor), "l"(descriptor), "r"(0));
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(0) : "memory");
  asm volatile("st.global.L1::no_allocate.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(out), "f"(d[0]), "f"(d[1]), "f"(d[2]),
               "f"(d[3]));
}
