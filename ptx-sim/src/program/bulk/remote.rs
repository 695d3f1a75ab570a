//! Decoding of `st.async` and `red.async`: registers to shared memory of a block of the cluster, whose mbarrier counts the
//! bytes.

use super::{BulkOp, decoded, is_reduction, shared_address};
use crate::alu::atomics::{Atomic, AtomicKind};
use crate::program::memory::Modifiers;
use crate::program::{Address, Decoded, Decoder, Element, Reject};
use crate::ptx::ast::{Instruction, Type};

/// One of them.
#[derive(Debug)]
pub(crate) struct RemoteOp {
    pub destination: Address,
    pub barrier: Address,
    /// The type of each element.
    pub ty: Type,
    pub elements: Vec<Element>,
    pub reduction: Option<Atomic>,
}

pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    instruction: &Instruction,
) -> Result<Option<Decoded>, Reject> {
    let mut modifiers = Modifiers::of(instruction);
    let reduces = instruction.root() == "red";
    modifiers.has("async");
    if modifiers.has("release") || modifiers.has("mmio") {
        return Err(
            "asynchronous stores to global memory need compute capability 10.0, which is not supported"
                .into(),
        );
    }
    // `.shared::cluster`, or generic addresses in its window; `.weak` of stores, `.relaxed.cluster` of reductions.
    for name in ["weak", "relaxed", "cluster", "shared::cluster", "mbarrier::complete_tx::bytes"] {
        modifiers.has(name);
    }
    let kind = if reduces {
        let kind = modifiers.take(AtomicKind::parse).filter(|kind| is_reduction(*kind));
        Some(kind.ok_or("the operation of the reduction is missing")?)
    } else {
        None
    };
    let count = modifiers
        .take(|m| match m {
            "v2" => Some(2),
            "v4" => Some(4),
            _ => None,
        })
        .unwrap_or(1);
    let ty = modifiers.take(Type::parse).ok_or("the type is missing")?;
    modifiers.finish()?;
    let reduction = kind.map(|kind| Atomic { kind, ty, vector: 1 });
    let known = match kind {
        Some(kind) => count == 1 && super::exists_bulk_reduction(kind, ty, true),
        None => {
            use Type::{B32, B64, F32, F64, S32, S64, U32, U64};
            matches!(ty, B32 | B64 | U32 | U64 | S32 | S64 | F32 | F64) && ty.bytes() * count <= 16
        }
    };
    if !known {
        return Err(format!("no asynchronous operation of {count} x {ty:?}"));
    }
    let [destination, value, barrier] = crate::program::operands(instruction)?;
    let values = decoder.elements(value);
    if values.len() != count as usize {
        return Err(format!("{count} source registers are expected"));
    }
    let elements = values.iter().map(|value| decoder.stored(value, ty)).collect::<Result<Vec<_>, _>>()?;
    let destination = shared_address(decoder, destination)?;
    let barrier = shared_address(decoder, barrier)?;
    decoded(BulkOp::Remote(RemoteOp { destination, barrier, ty, elements, reduction }))
}
