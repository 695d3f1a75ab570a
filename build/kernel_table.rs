// Every kernel that is compiled: the build script makes the list of files from it, the crate the `Kernel` type that
// plans name. So no plan can name a kernel that was not compiled. Each line: the kernel's file in cuda/, then its
// kernels, each with the struct of params.h that it takes.
kernel_table! {
    attention_combine {
        /// Merges attention over parts of the keys, to bf16.
        AttentionCombineBf16(AttentionCombineParams) = "attention_combine_bf16",
        /// Merges attention over parts of the keys, to f16.
        AttentionCombineF16(AttentionCombineParams) = "attention_combine_f16",
    }
    attention_decode {
        /// Decode attention of bf16, heads of 64 elements, 16 rows.
        AttentionDecodeBf16Hd64M16(AttentionParams) = "attention_decode_bf16_hd64_m16",
        /// Decode attention of bf16, heads of 64 elements, 64 rows.
        AttentionDecodeBf16Hd64M64(AttentionParams) = "attention_decode_bf16_hd64_m64",
        /// Decode attention of bf16, heads of 128 elements, 16 rows.
        AttentionDecodeBf16Hd128M16(AttentionParams) = "attention_decode_bf16_hd128_m16",
        /// Decode attention of bf16, heads of 128 elements, 64 rows.
        AttentionDecodeBf16Hd128M64(AttentionParams) = "attention_decode_bf16_hd128_m64",
        /// Decode attention of f16, heads of 64 elements, 16 rows.
        AttentionDecodeF16Hd64M16(AttentionParams) = "attention_decode_f16_hd64_m16",
        /// Decode attention of f16, heads of 64 elements, 64 rows.
        AttentionDecodeF16Hd64M64(AttentionParams) = "attention_decode_f16_hd64_m64",
        /// Decode attention of f16, heads of 128 elements, 16 rows.
        AttentionDecodeF16Hd128M16(AttentionParams) = "attention_decode_f16_hd128_m16",
        /// Decode attention of f16, heads of 128 elements, 64 rows.
        AttentionDecodeF16Hd128M64(AttentionParams) = "attention_decode_f16_hd128_m64",
        /// Decode attention of bf16 over an fp8 cache, heads of 64 elements, 16 rows.
        AttentionDecodeFp8KvBf16Hd64M16(AttentionParams) = "attention_decode_fp8kv_bf16_hd64_m16",
        /// Decode attention of bf16 over an fp8 cache, heads of 64 elements, 64 rows.
        AttentionDecodeFp8KvBf16Hd64M64(AttentionParams) = "attention_decode_fp8kv_bf16_hd64_m64",
        /// Decode attention of bf16 over an fp8 cache, heads of 128 elements, 16 rows.
        AttentionDecodeFp8KvBf16Hd128M16(AttentionParams) = "attention_decode_fp8kv_bf16_hd128_m16",
        /// Decode attention of bf16 over an fp8 cache, heads of 128 elements, 64 rows.
        AttentionDecodeFp8KvBf16Hd128M64(AttentionParams) = "attention_decode_fp8kv_bf16_hd128_m64",
        /// Decode attention of f16 over an fp8 cache, heads of 64 elements, 16 rows.
        AttentionDecodeFp8KvF16Hd64M16(AttentionParams) = "attention_decode_fp8kv_f16_hd64_m16",
        /// Decode attention of f16 over an fp8 cache, heads of 64 elements, 64 rows.
        AttentionDecodeFp8KvF16Hd64M64(AttentionParams) = "attention_decode_fp8kv_f16_hd64_m64",
        /// Decode attention of f16 over an fp8 cache, heads of 128 elements, 16 rows.
        AttentionDecodeFp8KvF16Hd128M16(AttentionParams) = "attention_decode_fp8kv_f16_hd128_m16",
        /// Decode attention of f16 over an fp8 cache, heads of 128 elements, 64 rows.
        AttentionDecodeFp8KvF16Hd128M64(AttentionParams) = "attention_decode_fp8kv_f16_hd128_m64",
    }
    attention_prefill {
        /// Attention of bf16 queries with heads of 64 elements.
        AttentionPrefillBf16Hd64(AttentionParams) = "attention_prefill_bf16_hd64",
        /// Attention of bf16 queries with heads of 128 elements.
        AttentionPrefillBf16Hd128(AttentionParams) = "attention_prefill_bf16_hd128",
        /// Attention of f16 queries with heads of 64 elements.
        AttentionPrefillF16Hd64(AttentionParams) = "attention_prefill_f16_hd64",
        /// Attention of f16 queries with heads of 128 elements.
        AttentionPrefillF16Hd128(AttentionParams) = "attention_prefill_f16_hd128",
        /// Attention of bf16 queries with heads of 64 elements over an fp8 cache.
        AttentionPrefillFp8KvBf16Hd64(AttentionParams) = "attention_prefill_fp8kv_bf16_hd64",
        /// Attention of bf16 queries with heads of 128 elements over an fp8 cache.
        AttentionPrefillFp8KvBf16Hd128(AttentionParams) = "attention_prefill_fp8kv_bf16_hd128",
        /// Attention of f16 queries with heads of 64 elements over an fp8 cache.
        AttentionPrefillFp8KvF16Hd64(AttentionParams) = "attention_prefill_fp8kv_f16_hd64",
        /// Attention of f16 queries with heads of 128 elements over an fp8 cache.
        AttentionPrefillFp8KvF16Hd128(AttentionParams) = "attention_prefill_fp8kv_f16_hd128",
    }
    ceiling {
        /// Reads memory and does next to nothing with it.
        CeilingRead(CeilingMemoryParams) = "ceiling_read",
        /// Copies memory.
        CeilingCopy(CeilingMemoryParams) = "ceiling_copy",
        /// bf16 products of registers.
        CeilingMmaBf16(CeilingTensorParams) = "ceiling_mma_bf16",
        /// f16 products of registers.
        CeilingMmaF16(CeilingTensorParams) = "ceiling_mma_f16",
        /// Nothing.
        CeilingEmpty(CeilingMemoryParams) = "ceiling_empty",
    }
    ceiling_sm90 {
        /// bf16 products of shared memory, by Hopper's own instructions.
        CeilingSm90WgmmaBf16(CeilingTensorParams) = "ceiling_sm90_wgmma_bf16",
        /// f16 products of shared memory, by Hopper's own instructions.
        CeilingSm90WgmmaF16(CeilingTensorParams) = "ceiling_sm90_wgmma_f16",
    }
    embed {
        /// Copies rows of a table of 16-bit numbers, bf16 and f16 alike.
        EmbedB16(EmbedParams) = "embed_b16",
    }
    matmul {
        /// bf16 product in tiles of 128 x 256, 64 columns at a time.
        MatmulBf16M128N256K64(MatmulParams) = "matmul_bf16_128x256x64",
        /// bf16 product in tiles of 128 x 256, 32 columns at a time.
        MatmulBf16M128N256K32(MatmulParams) = "matmul_bf16_128x256x32",
        /// bf16 product in tiles of 128 x 128, 64 columns at a time.
        MatmulBf16M128N128K64(MatmulParams) = "matmul_bf16_128x128x64",
        /// bf16 product in tiles of 64 x 128, 64 columns at a time.
        MatmulBf16M64N128K64(MatmulParams) = "matmul_bf16_64x128x64",
        /// bf16 product in tiles of 64 x 64, 128 columns at a time.
        MatmulBf16M64N64K128(MatmulParams) = "matmul_bf16_64x64x128",
        /// f16 product in tiles of 128 x 256, 64 columns at a time.
        MatmulF16M128N256K64(MatmulParams) = "matmul_f16_128x256x64",
        /// f16 product in tiles of 128 x 256, 32 columns at a time.
        MatmulF16M128N256K32(MatmulParams) = "matmul_f16_128x256x32",
        /// f16 product in tiles of 128 x 128, 64 columns at a time.
        MatmulF16M128N128K64(MatmulParams) = "matmul_f16_128x128x64",
        /// f16 product in tiles of 64 x 128, 64 columns at a time.
        MatmulF16M64N128K64(MatmulParams) = "matmul_f16_64x128x64",
        /// f16 product in tiles of 64 x 64, 128 columns at a time.
        MatmulF16M64N64K128(MatmulParams) = "matmul_f16_64x64x128",
    }
    matmul_fp8 {
        /// e4m3 product to bf16, in tiles of 128 x 128, 128 columns at a time.
        MatmulFp8Bf16M128N128K128(MatmulFp8Params) = "matmul_fp8_bf16_128x128x128",
        /// e4m3 product to bf16, or that in e4m3, in tiles of 64 x 256, 64 columns at a time.
        MatmulFp8Bf16M64N256K64(MatmulFp8Params) = "matmul_fp8_bf16_64x256x64",
        /// e4m3 product to bf16, in tiles of 64 x 128, 128 columns at a time.
        MatmulFp8Bf16M64N128K128(MatmulFp8Params) = "matmul_fp8_bf16_64x128x128",
        /// e4m3 product to f16, in tiles of 128 x 128, 128 columns at a time.
        MatmulFp8F16M128N128K128(MatmulFp8Params) = "matmul_fp8_f16_128x128x128",
        /// e4m3 product to f16, or that in e4m3, in tiles of 64 x 256, 64 columns at a time.
        MatmulFp8F16M64N256K64(MatmulFp8Params) = "matmul_fp8_f16_64x256x64",
        /// e4m3 product to f16, in tiles of 64 x 128, 128 columns at a time.
        MatmulFp8F16M64N128K128(MatmulFp8Params) = "matmul_fp8_f16_64x128x128",
    }
    matmul_fp8_stream {
        /// e4m3 product to bf16 of at most 8 tokens: the weights stream through shared memory.
        MatmulFp8StreamBf16M8(MatmulFp8Params) = "matmul_fp8_stream_bf16_m8",
        /// e4m3 product to bf16 of at most 16 tokens: the weights stream through shared memory.
        MatmulFp8StreamBf16M16(MatmulFp8Params) = "matmul_fp8_stream_bf16_m16",
        /// e4m3 product to f16 of at most 8 tokens: the weights stream through shared memory.
        MatmulFp8StreamF16M8(MatmulFp8Params) = "matmul_fp8_stream_f16_m8",
        /// e4m3 product to f16 of at most 16 tokens: the weights stream through shared memory.
        MatmulFp8StreamF16M16(MatmulFp8Params) = "matmul_fp8_stream_f16_m16",
    }
    matmul_int4 {
        /// bf16 product with weights in 4 bits in tiles of 128 x 256, 64 columns at a time.
        MatmulInt4Bf16M128N256K64(MatmulInt4Params) = "matmul_int4_bf16_128x256x64",
        /// bf16 product with weights in 4 bits in tiles of 64 x 128, 64 columns at a time.
        MatmulInt4Bf16M64N128K64(MatmulInt4Params) = "matmul_int4_bf16_64x128x64",
        /// bf16 product with weights in 4 bits in tiles of 32 x 256, 64 columns at a time.
        MatmulInt4Bf16M32N256K64(MatmulInt4Params) = "matmul_int4_bf16_32x256x64",
        /// f16 product with weights in 4 bits in tiles of 128 x 256, 64 columns at a time.
        MatmulInt4F16M128N256K64(MatmulInt4Params) = "matmul_int4_f16_128x256x64",
        /// f16 product with weights in 4 bits in tiles of 64 x 128, 64 columns at a time.
        MatmulInt4F16M64N128K64(MatmulInt4Params) = "matmul_int4_f16_64x128x64",
        /// f16 product with weights in 4 bits in tiles of 32 x 256, 64 columns at a time.
        MatmulInt4F16M32N256K64(MatmulInt4Params) = "matmul_int4_f16_32x256x64",
    }
    matmul_int4_stream {
        /// bf16 product of at most 8 tokens with weights in 4 bits: the weights stream through shared memory.
        MatmulInt4StreamBf16M8(MatmulInt4Params) = "matmul_int4_stream_bf16_m8",
        /// bf16 product of at most 16 tokens with weights in 4 bits: the weights stream through shared memory.
        MatmulInt4StreamBf16M16(MatmulInt4Params) = "matmul_int4_stream_bf16_m16",
        /// f16 product of at most 8 tokens with weights in 4 bits: the weights stream through shared memory.
        MatmulInt4StreamF16M8(MatmulInt4Params) = "matmul_int4_stream_f16_m8",
        /// f16 product of at most 16 tokens with weights in 4 bits: the weights stream through shared memory.
        MatmulInt4StreamF16M16(MatmulInt4Params) = "matmul_int4_stream_f16_m16",
    }
    matmul_stream {
        /// bf16 product of at most 8 tokens: the weights stream through shared memory.
        MatmulStreamBf16M8(MatmulParams) = "matmul_stream_bf16_m8",
        /// bf16 product of at most 16 tokens: the weights stream through shared memory.
        MatmulStreamBf16M16(MatmulParams) = "matmul_stream_bf16_m16",
        /// f16 product of at most 8 tokens: the weights stream through shared memory.
        MatmulStreamF16M8(MatmulParams) = "matmul_stream_f16_m8",
        /// f16 product of at most 16 tokens: the weights stream through shared memory.
        MatmulStreamF16M16(MatmulParams) = "matmul_stream_f16_m16",
    }
    permute_columns {
        /// Permutes the columns of rows of 16-bit numbers, bf16 and f16 alike.
        PermuteColumnsB16(PermuteColumnsParams) = "permute_columns_b16",
    }
    quantize_fp8 {
        /// Quantises bf16 rows to e4m3.
        QuantizeFp8Bf16(QuantizeFp8Params) = "quantize_fp8_bf16",
        /// Quantises f16 rows to e4m3.
        QuantizeFp8F16(QuantizeFp8Params) = "quantize_fp8_f16",
    }
    rms_norm {
        /// RMS norm of bf16 rows.
        RmsNormBf16(RmsNormParams) = "rms_norm_bf16",
        /// RMS norm of f16 rows.
        RmsNormF16(RmsNormParams) = "rms_norm_f16",
        /// Adds into the bf16 residual stream, then norms it.
        AddRmsNormBf16(AddRmsNormParams) = "add_rms_norm_bf16",
        /// Adds into the f16 residual stream, then norms it.
        AddRmsNormF16(AddRmsNormParams) = "add_rms_norm_f16",
        /// RMS norm of bf16 rows, quantised to e4m3.
        RmsNormFp8Bf16(RmsNormFp8Params) = "rms_norm_fp8_bf16",
        /// RMS norm of f16 rows, quantised to e4m3.
        RmsNormFp8F16(RmsNormFp8Params) = "rms_norm_fp8_f16",
        /// Adds into the bf16 residual stream, then norms it, quantised to e4m3.
        AddRmsNormFp8Bf16(AddRmsNormFp8Params) = "add_rms_norm_fp8_bf16",
        /// Adds into the f16 residual stream, then norms it, quantised to e4m3.
        AddRmsNormFp8F16(AddRmsNormFp8Params) = "add_rms_norm_fp8_f16",
    }
    rope_append_kv {
        /// Rotates bf16 queries and keys, and stores keys and values in the cache.
        RopeAppendKvBf16(RopeAppendKvParams) = "rope_append_kv_bf16",
        /// Rotates f16 queries and keys, and stores keys and values in the cache.
        RopeAppendKvF16(RopeAppendKvParams) = "rope_append_kv_f16",
    }
    sample {
        /// Chooses a token from each row of f32 logits.
        SampleF32(SampleParams) = "sample_f32",
    }
    silu_and_mul {
        /// SwiGLU of bf16 rows.
        SiluAndMulBf16(SiluAndMulParams) = "silu_and_mul_bf16",
        /// SwiGLU of f16 rows.
        SiluAndMulF16(SiluAndMulParams) = "silu_and_mul_f16",
    }
}
