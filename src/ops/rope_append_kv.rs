//! Rotary position embedding, and appending keys and values to the paged cache.

use super::args::{Args, Dim};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::RopeAppendKvParams;
use crate::tensor::DType;
use crate::{Result, plan};

/// Rotates queries and keys, writes the queries out, and keys and values into their slots of the cache.
///
/// Element `i` of a head is paired with element `i + hd/2`: with the row `p = positions[t]` of the table,
/// `out[i] = x[i]*cos[p,i] - x[i+hd/2]*sin[p,i]` and `out[i+hd/2] = x[i+hd/2]*cos[p,i] + x[i]*sin[p,i]`, in f32, rounded once.
#[derive(Debug)]
pub struct RopeAppendKv<'a> {
    /// bf16 or f16 `[T, (Hq + 2*Hkv) * hd]`: q, k, v; `hd` a multiple of 16, at most 256.
    pub qkv: TensorRef<'a>,
    /// i32 `[T]`: rows of `cos_sin`.
    pub positions: TensorRef<'a>,
    /// i64 `[T]`: `page * page_size + offset`; negative: keys and values of this token are not stored. No slot stands twice.
    pub slot_mapping: TensorRef<'a>,
    /// f32 `[P, hd]`: `hd/2` cosines, then `hd/2` sines, with any scaling already in them; at least one row.
    pub cos_sin: TensorRef<'a>,
    /// `[T, Hq, hd]` in qkv's type.
    pub q_out: TensorMut<'a>,
    /// Keys `[pages, page_size, Hkv, hd]` in qkv's type or e4m3, `page_size` a power of two, any strides but the last.
    pub k_cache: TensorMut<'a>,
    /// Values, likewise.
    pub v_cache: TensorMut<'a>,
    /// Keys are stored in an e4m3 cache as `saturate(k / k_scale)`, the quotient of the rotated key in f32 rounded once:
    /// finite, above 0. 1 for other caches.
    pub k_scale: f32,
    /// Likewise for values.
    pub v_scale: f32,
    /// u32 `[1]`: gets bits of [`DeviceError`](crate::params::DeviceError) where a position or slot is out of range; they are
    /// bounded with and without it.
    pub error: Option<TensorMut<'a>>,
}

/// Bytes that a kernel loads and stores at once.
const VECTOR_BYTES: u64 = 16;

/// Launches [`RopeAppendKv`]. [`Error::Argument`](crate::Error::Argument) names what is wrong with an argument; then nothing
/// is launched.
pub fn rope_append_kv(stream: &Stream, args: &RopeAppendKv<'_>) -> Result<()> {
    let check = Args { op: "rope_append_kv", stream };
    let dtype = args.qkv.dtype();
    if !matches!(dtype, DType::BF16 | DType::F16) {
        return Err(check.error("qkv", "bf16 or f16", dtype));
    }
    let dims = [Dim::Any("num_tokens"), Dim::Any("num_q_heads"), Dim::Any("head_dim")];
    let q_out = check.strided("q_out", &args.q_out.as_ref(), dtype, dims, VECTOR_BYTES)?;
    let [num_tokens, num_q_heads, head_dim] = q_out.shape;
    let dims = [Dim::Any("num_pages"), Dim::Any("page_size"), Dim::Any("num_kv_heads"), Dim::Is(head_dim)];
    let (k_ref, v_ref) = (args.k_cache.as_ref(), args.v_cache.as_ref());
    let cache_dtype = check.cache_dtype("k_cache", &k_ref, dtype)?;
    let k_cache = check.strided("k_cache", &k_ref, cache_dtype, dims, VECTOR_BYTES)?;
    let v_cache = check.strided("v_cache", &v_ref, cache_dtype, k_cache.shape.map(Dim::Is), VECTOR_BYTES)?;
    check.check_cache_scale("k_scale", args.k_scale, cache_dtype)?;
    check.check_cache_scale("v_scale", args.v_scale, cache_dtype)?;
    let [num_pages, page_size, num_kv_heads, _] = k_cache.shape;
    let heads = num_kv_heads.checked_mul(2).and_then(|heads| heads.checked_add(num_q_heads));
    let width = heads
        .and_then(|heads| heads.checked_mul(head_dim))
        .ok_or_else(|| check.error("k_cache", "heads of fewer than 2^64 elements", num_kv_heads))?;
    let dims = [Dim::Is(num_tokens), Dim::Is(width)];
    let qkv = check.strided("qkv", &args.qkv, dtype, dims, VECTOR_BYTES)?;
    let positions = check.strided_list("positions", &args.positions, DType::I32, num_tokens)?;
    let slot_mapping = check.strided_list("slot_mapping", &args.slot_mapping, DType::I64, num_tokens)?;
    let dims = [Dim::Any("num_positions"), Dim::Is(head_dim)];
    let cos_sin = check.strided("cos_sin", &args.cos_sin, DType::F32, dims, VECTOR_BYTES)?;
    let error = args.error.as_ref().map(|error| check.strided_list("error", &error.as_ref(), DType::U32, 1));
    let error = error.transpose()?;

    // The kernel counts in i32; a wider page would be no page.
    let count = |arg, size: usize, what: &str| {
        i32::try_from(size).map_err(|_| check.error(arg, format!("fewer than 2^31 {what}"), size))
    };
    let pages = count("k_cache", num_pages, "pages")?;
    let slots_per_page = count("k_cache", page_size, "tokens a page")?;
    if !page_size.is_power_of_two() {
        return Err(check.error("k_cache", "a page_size that is a power of two", page_size));
    }
    let num_positions = count("cos_sin", cos_sin.shape[0], "rows")?;
    if num_positions == 0 {
        return Err(check.error("cos_sin", "at least one row", 0));
    }
    let read = [qkv.span, positions.span, slot_mapping.span, cos_sin.span];
    check.check_written(q_out.span, &read)?;
    check.check_written(k_cache.span, &read)?;
    check.check_written(k_cache.span, &[q_out.span])?;
    check.check_written(v_cache.span, &read)?;
    check.check_written(v_cache.span, &[q_out.span, k_cache.span])?;
    if let Some(error) = error {
        check.check_written(error.span, &read)?;
        check.check_written(error.span, &[q_out.span, k_cache.span, v_cache.span])?;
    }
    let Some(plan) = plan::rope_append_kv(dtype, num_tokens, num_q_heads, num_kv_heads, head_dim)? else {
        return Ok(());
    };
    let params = RopeAppendKvParams {
        qkv: qkv.address,
        positions: positions.address,
        slot_mapping: slot_mapping.address,
        cos_sin: cos_sin.address,
        q_out: q_out.address,
        k_cache: k_cache.address,
        v_cache: v_cache.address,
        error: error.map_or(0, |error| error.address),
        qkv_stride_token: qkv.strides[0],
        cos_sin_stride_row: cos_sin.strides[0],
        q_out_stride_token: q_out.strides[0],
        q_out_stride_head: q_out.strides[1],
        k_stride_page: k_cache.strides[0],
        k_stride_slot: k_cache.strides[1],
        k_stride_head: k_cache.strides[2],
        v_stride_page: v_cache.strides[0],
        v_stride_slot: v_cache.strides[1],
        v_stride_head: v_cache.strides[2],
        // The plan has checked that these fit.
        num_tokens: num_tokens as i32,
        num_q_heads: num_q_heads as i32,
        num_kv_heads: num_kv_heads as i32,
        head_dim: head_dim as i32,
        num_positions,
        page_size: slots_per_page,
        num_pages: pages,
        cache_fp8: u32::from(cache_dtype == DType::F8E4M3),
        k_scale: args.k_scale,
        v_scale: args.v_scale,
    };
    // SAFETY: the tensors' makers promise that their memory is there; shapes, strides and alignment are those that the
    // kernel and the plan expect, as checked above, and the kernel bounds positions and slots.
    unsafe { check.launch(&plan, &params) }
}
