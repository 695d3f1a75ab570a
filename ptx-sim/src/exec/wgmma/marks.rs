//! Rows of A and columns of B that nothing has written, through a `wgmma`: what is computed of them is garbage, and
//! nothing else is.

use std::sync::Arc;

use super::multiply::lines_of_unit;
use crate::exec::Block;
use crate::exec::collective::lanes_of;
use crate::exec::taint::Origin;
use crate::exec::warp::Warp;
use crate::memory::Fault;
use crate::program::{MultiplyOp, Pc, Slot};
use crate::tensor::wgmma::{Major, row_of_a};
use crate::violation::ViolationKind;

/// The garbage among the operands of a warp.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    rows: u16,
    columns: [u64; 4],
    origin: Option<Arc<Origin>>,
}

impl Garbage {
    /// A's fragment.
    pub fn add_registers(&mut self, warp: &Warp, slots: &[Slot; 4]) {
        if warp.taint.is_none() {
            return;
        }
        for (register, slot) in slots.iter().enumerate() {
            for lane in lanes_of(warp.unwritten(*slot)) {
                self.rows |= 1 << row_of_a(lane, register);
                self.origin = self.origin.take().or_else(|| warp.origin(*slot));
            }
        }
    }

    /// Rows of A in shared memory.
    pub fn add_rows(&mut self, rows: u16, origin: Arc<Origin>) {
        self.rows |= rows;
        self.origin.get_or_insert(origin);
    }

    /// Columns of B.
    pub fn add_columns(&mut self, columns: [u64; 4], origin: &Arc<Origin>) {
        self.columns = columns;
        self.origin.get_or_insert_with(|| Arc::clone(origin));
    }

    /// Marks what it makes of D.
    pub fn mark(self, warp: &mut Warp, op: &MultiplyOp, accumulates: bool) {
        match self.origin {
            Some(origin) => warp.note_unwritten(origin),
            None if warp.taint.is_none() => return,
            None => {}
        }
        for (register, slot) in op.d.iter().enumerate() {
            let new = op.form.touched(self.rows, &self.columns, register);
            let old = if accumulates { warp.unwritten(*slot) } else { 0 };
            if new != 0 || !accumulates {
                warp.mark_loaded(*slot, old | new, u32::MAX);
            }
        }
    }
}

/// The lines with something that nothing has written, as bits, and the first such read.
pub(super) fn units_unwritten(
    block: &Block,
    pc: Pc,
    major: Major,
    units: &[u64],
) -> Option<([u64; 4], Arc<Origin>)> {
    let (mut lines, mut first) = ([0; 4], None);
    for (index, unit) in units.iter().enumerate() {
        if block.shared.is_written(*unit, 16) {
            continue;
        }
        first = first.or(Some(*unit));
        for (element, line) in lines_of_unit(major, index).enumerate() {
            if major == Major::K || !block.shared.is_written(*unit + 2 * element as u64, 2) {
                lines[line / 64 % 4] |= 1_u64 << (line % 64);
            }
        }
    }
    let address = first?;
    let fault = Fault {
        kind: ViolationKind::UninitializedShared,
        lane: 0,
        address,
        message: "wgmma reads 16 bytes of shared memory of which nothing has written some".into(),
        prior: None,
    };
    Some((lines, block.origin(pc, fault)))
}
