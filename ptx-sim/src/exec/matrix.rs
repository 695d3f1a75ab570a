//! `ldmatrix`, `stmatrix` and `movmatrix`: 8x8 matrices whose rows lie at the addresses that lanes give.

use super::access::{addresses, is_unwritten};
use super::collective::{lanes_of, mask_of};
use super::fault::Fail;
use super::warp::Warp;
use super::{Block, Engine};
use crate::count::Tally;
use crate::memory::{LaneBytes, Strength, SyncSemantics, WarpAccess, windows};
use crate::program::{LANES, MatrixOp, Operands, Pc};
use crate::ptx::ast::Space;
use crate::tensor;
use crate::violation::AccessKind;

/// Bytes of a matrix's row.
const ROW: usize = 16;

/// The lanes that give addresses for so many matrices.
fn addressing_lanes(matrices: usize) -> u32 {
    if matrices >= 4 { u32::MAX } else { (1 << (8 * matrices)) - 1 }
}

fn row_addresses(warp: &Warp, op: &MatrixOp) -> [u64; LANES] {
    let addresses = addresses(warp, &op.address);
    if op.space == Space::Generic { addresses.map(|a| a.wrapping_sub(windows::SHARED)) } else { addresses }
}

fn access<'a>(kind: AccessKind, op: &MatrixOp, addresses: &'a [u64; LANES], pc: Pc) -> WarpAccess<'a> {
    let mask = addressing_lanes(op.registers.len());
    WarpAccess {
        kind,
        strength: Strength::Weak,
        order: SyncSemantics::default(),
        size: ROW,
        align: ROW as u64,
        addresses,
        mask,
        pc,
        reads_unwritten: false,
        moment: None,
    }
}

impl Engine<'_> {
    pub(super) fn load_matrix(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        op: &MatrixOp,
    ) -> Result<(), Fail> {
        let addresses = row_addresses(warp, op);
        let access = access(AccessKind::Read, op, &addresses, pc);
        let mut rows: LaneBytes = [[0; ROW]; LANES];
        let unwritten = self.load_rows(block, warp, &access, &mut rows)?;
        let registers = tensor::ldmatrix_scatter(&rows, op.registers.len(), op.transpose);
        for (matrix, (slot, values)) in op.registers.iter().zip(&registers).enumerate() {
            warp.lanes.set32(*slot, values, u32::MAX);
            let garbage = (0..LANES).filter(|lane| {
                // A lane gets two elements of a row or, transposed, one of each of two rows.
                let [first, second] = match op.transpose {
                    false => [(lane / 4, 4 * (lane % 4)), (lane / 4, 4 * (lane % 4) + 2)],
                    true => [(2 * (lane % 4), 2 * (lane / 4)), (2 * (lane % 4) + 1, 2 * (lane / 4))],
                };
                [first, second].iter().any(|(row, byte)| {
                    let row = 8 * matrix + row;
                    let address = addresses[row].wrapping_add(*byte as u64);
                    unwritten >> row & 1 != 0 && !block.shared.is_written(address, 2)
                })
            });
            let garbage = mask_of(garbage);
            warp.mark_loaded(*slot, garbage, u32::MAX);
        }
        Ok(())
    }

    /// The rows of matrices. Gives those that nothing has written, as a mask of the lanes that name them.
    fn load_rows(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        access: &WarpAccess<'_>,
        rows: &mut LaneBytes,
    ) -> Result<u32, Fail> {
        let (shared, clocks) = (&mut block.shared, &mut block.clocks);
        let fault = match shared.load_collective(clocks, warp.index, access, u32::MAX, rows, &mut self.tally)
        {
            Ok(()) => return Ok(0),
            Err(fault) => fault,
        };
        if !is_unwritten(&fault) {
            return Err(self.fault(block, warp, access.pc, fault));
        }
        warp.note_unwritten(block.origin(access.pc, fault));
        let written = |row: &usize| block.shared.is_written(access.addresses[*row], ROW);
        let unwritten = mask_of(lanes_of(access.mask).filter(|row| !written(row)));
        // The access has been counted.
        let mut apart = Tally::default();
        let access = WarpAccess { reads_unwritten: true, ..*access };
        let (shared, clocks) = (&mut block.shared, &mut block.clocks);
        let loaded = shared.load_collective(clocks, warp.index, &access, u32::MAX, rows, &mut apart);
        loaded.map_err(|fault| self.fault(block, warp, access.pc, fault))?;
        Ok(unwritten)
    }

    pub(super) fn store_matrix(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        op: &MatrixOp,
    ) -> Result<(), Fail> {
        let addresses = row_addresses(warp, op);
        let access = access(AccessKind::Write, op, &addresses, pc);
        let mut registers = [[0; LANES]; 4];
        for (values, slot) in registers.iter_mut().zip(&op.registers) {
            *values = warp.lanes.get32(*slot);
        }
        let rows = tensor::stmatrix_gather(&registers, op.registers.len(), op.transpose);
        self.progress += 1;
        let Block { shared, clocks, .. } = block;
        let stored = shared.store_collective(clocks, warp.index, &access, u32::MAX, &rows, &mut self.tally);
        stored.map_err(|fault| self.fault(block, warp, pc, fault))?;
        for (matrix, slot) in op.registers.iter().enumerate() {
            let garbage = warp.unwritten(*slot);
            let rows = mask_of(lanes_of(garbage).flat_map(|lane| match op.transpose {
                false => [lane / 4; 2],
                true => [2 * (lane % 4), 2 * (lane % 4) + 1],
            }));
            let mask = rows << (8 * matrix);
            if mask != 0 {
                block.shared.set_unwritten(&WarpAccess { mask, ..access });
            }
        }
        Ok(())
    }

    pub(super) fn move_matrix(&mut self, warp: &mut Warp, operands: &Operands) {
        let transposed = tensor::movmatrix(&warp.lanes.get32(operands.src[0]));
        warp.lanes.set32(operands.dst[0], &transposed, u32::MAX);
    }
}
