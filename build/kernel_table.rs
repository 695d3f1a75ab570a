// Every kernel that is compiled: the build script makes the list of files from it, the crate the `Kernel` type that
// plans name. So no plan can name a kernel that was not compiled. Each line: the kernel's file in cuda/, then its
// kernels, each with the struct of params.h that it takes.
kernel_table! {
    embed {
        /// Copies rows of a table of 16-bit numbers, bf16 and f16 alike.
        EmbedB16(EmbedParams) = "embed_b16",
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
    }
    silu_and_mul {
        /// SwiGLU of bf16 rows.
        SiluAndMulBf16(SiluAndMulParams) = "silu_and_mul_bf16",
        /// SwiGLU of f16 rows.
        SiluAndMulF16(SiluAndMulParams) = "silu_and_mul_f16",
    }
}
