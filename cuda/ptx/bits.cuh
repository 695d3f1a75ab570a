// Logic of three words at once (LOP3).
#pragma once

#include <cstdint>

// (a & b) | c. Where b and c are constants the compiler makes it two instructions, since one has
// room for one constant; with kRegister it is one, and c is in a register.
template <bool kRegister>
__device__ __forceinline__ uint32_t and_or(uint32_t a, uint32_t b, uint32_t c) {
  if constexpr (!kRegister) {
    return (a & b) | c;
  }
  uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
