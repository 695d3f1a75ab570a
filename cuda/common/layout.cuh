// The layout of params.h as nvcc sees it. src/params.rs asserts the same numbers for Rust, so that
// a struct written by the host is the one that a kernel reads.
#pragma once

#include <cstddef>

#include "../params.h"

#define ASSERT_LAYOUT(type, size, last_field, last_offset)           \
  static_assert(sizeof(type) == size, #type " has another size");    \
  static_assert(alignof(type) == 8, #type " has another alignment"); \
  static_assert(offsetof(type, last_field) == last_offset, #type " has hidden padding")

ASSERT_LAYOUT(EmbedParams, 64, error_bit, 60);
ASSERT_LAYOUT(RmsNormParams, 72, padding, 68);
ASSERT_LAYOUT(AddRmsNormParams, 88, padding, 84);
ASSERT_LAYOUT(RmsNormFp8Params, 72, eps, 68);
ASSERT_LAYOUT(AddRmsNormFp8Params, 88, eps, 84);
ASSERT_LAYOUT(PermuteColumnsParams, 56, width, 52);
ASSERT_LAYOUT(QuantizeFp8Params, 64, padding, 60);
ASSERT_LAYOUT(SiluAndMulParams, 40, intermediate, 36);
ASSERT_LAYOUT(SampleRow, 48, position, 40);
ASSERT_LAYOUT(RopeAppendKvParams, 184, v_scale, 180);
ASSERT_LAYOUT(AttentionParams, 232, v_scale, 228);
ASSERT_LAYOUT(AttentionCombineParams, 128, max_q_len, 124);
ASSERT_LAYOUT(MatmulParams, 88, padding, 84);
ASSERT_LAYOUT(MatmulInt4Params, 120, padding, 116);
ASSERT_LAYOUT(MatmulFp8Params, 160, out_scale_stride_row, 152);
ASSERT_LAYOUT(SampleParams, 72, padding, 68);

#undef ASSERT_LAYOUT
