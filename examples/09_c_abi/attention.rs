//! Attention, in both its forms.

use std::ffi::c_void;

use llama_kernels::gpu::TensorMut;
use llama_kernels::ops::{self, Decode, KeysValues};
use llama_kernels::{Error, Result, plan};

use super::error::guarded;
use super::queue::{Queue, check_pointer};
use super::types::{Attention, Tensor};

/// The operation's arguments from C's struct.
///
/// # Safety
/// As [`Queue::write`] for each tensor.
unsafe fn arguments(
    on: &Queue,
    op: &'static str,
    args: *const Attention,
) -> Result<(ops::Attention<'static>, bool)> {
    // SAFETY: the caller's promises, as the header states them.
    unsafe {
        let args = on.struct_of("args", args)?;
        let (k, v) = (on.read("k", args.k)?, on.read("v", args.v)?);
        let keys_values = match (args.page_table.is_null(), args.kv_indptr.is_null()) {
            (false, true) => KeysValues::Paged { k, v, page_table: on.read("page_table", args.page_table)? },
            (true, false) => {
                KeysValues::Contiguous { k, v, kv_indptr: on.read("kv_indptr", args.kv_indptr)? }
            }
            (none, _) => {
                let given = if none { "neither" } else { "both" };
                return Err(Error::argument(op, "page_table", "either page_table or kv_indptr", given));
            }
        };
        let size = |arg, size: u64| {
            usize::try_from(size).map_err(|_| Error::argument(op, arg, "a size of this machine", size))
        };
        let first = size("first_sequence", args.first_sequence)?;
        let end = first.checked_add(size("num_sequences", args.num_sequences)?);
        let end =
            end.ok_or_else(|| Error::argument(op, "num_sequences", "an end below 2^64", args.num_sequences))?;
        let attention = ops::Attention {
            q: on.read("q", args.q)?,
            keys_values,
            k_scale: args.k_scale,
            v_scale: args.v_scale,
            q_indptr: on.read("q_indptr", args.q_indptr)?,
            kv_len: on.read("kv_len", args.kv_len)?,
            sequences: first..end,
            max_q_len: size("max_q_len", args.max_q_len)?,
            max_kv_len: size("max_kv_len", args.max_kv_len)?,
            softmax_scale: args.softmax_scale,
            out: on.write("out", args.out)?,
            lse: on.write_optional("lse", args.lse)?,
            error: on.write_optional("error", args.error)?,
        };
        Ok((attention, args.batch_invariant != 0))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_attention_prefill(
    device: u64,
    stream: *mut c_void,
    args: *const Attention,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("attention_prefill", device, stream)?;
        let (attention, _) = arguments(&on, "attention_prefill", args)?;
        ops::attention_prefill(on.stream()?, &attention)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_attention_decode(
    device: u64,
    stream: *mut c_void,
    args: *const Attention,
    workspace: *const Tensor,
) -> i32 {
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new("attention_decode", device, stream)?;
        let (attention, batch_invariant) = arguments(&on, "attention_decode", args)?;
        let workspace: TensorMut<'_> = on.write("workspace", workspace)?;
        ops::attention_decode(on.stream()?, &attention, &Decode { workspace, batch_invariant })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_attention_decode_workspace(
    device: u64,
    stream: *mut c_void,
    args: *const Attention,
    bytes: *mut u64,
) -> i32 {
    const OP: &str = "attention_decode_workspace";
    // SAFETY: the caller's promises, as the header states them.
    guarded(|| unsafe {
        let on = Queue::new(OP, device, stream)?;
        check_pointer(OP, "bytes", bytes)?;
        let (attention, batch_invariant) = arguments(&on, OP, args)?;
        let limits = on.device().properties().limits();
        let plan = plan::attention_decode(&attention.shape()?, batch_invariant, limits)?;
        bytes.write(plan.map_or(0, |plan| plan.workspace_bytes as u64));
        Ok(())
    })
}
