//! `wgmma.mma_async`.

use std::rc::Rc;
use std::sync::Arc;

use super::group::Issue;
use super::marks::{Garbage, units_unwritten};
use crate::exec::fault::Fail;
use crate::exec::taint::Origin;
use crate::exec::warp::Warp;
use crate::exec::{Block, Engine};
use crate::memory::ProxyAccess;
use crate::program::{MatrixA, MultiplyOp, Pc, Slot};
use crate::race::Moment;
use crate::tensor::wgmma::{ARows, BColumns, Descriptor, Major};
use crate::violation::ViolationKind;

/// B, read from shared memory.
#[derive(Debug)]
pub(in crate::exec) struct SharedB {
    columns: BColumns,
    /// Columns with something that nothing has written, and the read.
    unwritten: Option<([u64; 4], Arc<Origin>)>,
}

impl Engine<'_> {
    pub(super) fn multiply(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        op: &MultiplyOp,
    ) -> Result<(), Fail> {
        let b_bits = self.uniform(block, warp, pc, op.b, "B's descriptor")?;
        let a_bits = match op.a {
            MatrixA::Registers(_) => None,
            MatrixA::Shared(slot, _) => Some(self.uniform(block, warp, pc, slot, "A's descriptor")?),
        };
        let accumulates = match warp.lanes.get_predicate(op.accumulates) {
            0 => false,
            u32::MAX => true,
            _ => return Err(self.invalid(block, warp, pc, "scale-d is not the same in all lanes".into())),
        };
        let descriptors = (a_bits, b_bits);
        let (moment, shared_b) = self.join_warpgroup(block, warp, pc, op, descriptors)?;

        let mut garbage = Garbage::default();
        let a = match op.a {
            MatrixA::Registers(slots) => {
                garbage.add_registers(warp, &slots);
                ARows::from_registers(&op.form, &warp.lanes, &slots, op.negate_a)
            }
            MatrixA::Shared(_, major) => {
                let descriptor = self.descriptor(block, warp, pc, a_bits.unwrap_or(0))?;
                let first = warp.index % super::WARPS * 16;
                let units = descriptor.units(major, first..first + 16);
                self.claim(block, warp, pc, moment, &ascending(&units))?;
                if let Some((rows, origin)) = units_unwritten(block, pc, major, &units) {
                    garbage.add_rows(rows[0] as u16, origin);
                }
                let bytes = units.iter().map(|unit| unit_bytes(block, *unit));
                ARows::from_units(&op.form, major, bytes, op.negate_a)
            }
        };
        if let Some((columns, origin)) = &shared_b.unwritten {
            garbage.add_columns(*columns, origin);
        }
        self.use_registers(block, warp, pc, op, moment)?;
        let mode = self.launch.options.tensor_mode;
        op.form.multiply(&mut warp.lanes, &op.d, &a, &shared_b.columns, accumulates, mode);
        garbage.mark(warp, op, accumulates);
        let (ty, flops) = op.form.flops();
        self.tally.tensor_flops[ty as usize] += flops;
        Ok(())
    }

    /// The warp's next multiplication is the same operation as that of the other warps. Its moment, and B.
    fn join_warpgroup(
        &mut self,
        block: &mut Block,
        warp: &mut Warp,
        pc: Pc,
        op: &MultiplyOp,
        descriptors: (Option<u64>, u64),
    ) -> Result<(Moment, Rc<SharedB>), Fail> {
        let known = block.warpgroup(warp.index).known(warp.index);
        let known = known.map(|known| {
            (known.pc, known.descriptors, known.moment, Rc::clone(&known.units), known.b.clone())
        });
        let joined = match known {
            Some((other, described, moment, units, b)) => {
                if other != pc || described != descriptors {
                    return Err(self.parted(block, warp, pc, other, described, descriptors));
                }
                self.claim(block, warp, pc, moment, &units)?;
                let b = match b {
                    Some(b) => b,
                    None => {
                        let descriptor = self.descriptor(block, warp, pc, descriptors.1)?;
                        Rc::new(read_b(block, pc, op, &descriptor.units(op.b_major, 0..op.form.n)))
                    }
                };
                (moment, b)
            }
            None => {
                let descriptor = self.descriptor(block, warp, pc, descriptors.1)?;
                let units = descriptor.units(op.b_major, 0..op.form.n);
                let sorted = ascending(&units);
                let last = block.warpgroup(warp.index).last();
                let moment = block.clocks.begin_async(last);
                self.claim(block, warp, pc, moment, &sorted)?;
                let b = Rc::new(read_b(block, pc, op, &units));
                let (units, b_kept) = (sorted.into(), Some(Rc::clone(&b)));
                let issue = Issue { pc, descriptors, moment, units, b: b_kept, issued: Default::default() };
                block.warpgroup(warp.index).begin(issue);
                (moment, b)
            }
        };
        let Block { clocks, warpgroups, .. } = block;
        if let Some(group) = warpgroups.get_mut(warp.index / super::WARPS) {
            group.advance(clocks, warp.index, warp.live);
        }
        self.progress += 1;
        Ok(joined)
    }

    /// Another warp of the warpgroup executes something else.
    fn parted(
        &self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        other: Pc,
        theirs: (Option<u64>, u64),
        ours: (Option<u64>, u64),
    ) -> Fail {
        if other != pc {
            let place = self.launch.program.location(other).map_or_else(String::new, |l| l.to_string());
            let message = format!(
                "warps of one warpgroup execute different wgmma.mma_async: here, and another warp at {place}"
            );
            return self.fail(block, warp, pc, 0, ViolationKind::DivergentWarp, message);
        }
        let describe = |(a, b): (Option<u64>, u64)| match a {
            Some(a) => format!("A {a:#018x}, B {b:#018x}"),
            None => format!("B {b:#018x}"),
        };
        let message = format!(
            "the matrix descriptors of a wgmma are not the same in all warps of the warpgroup: {} here, {} of another",
            describe(ours),
            describe(theirs)
        );
        self.fail(block, warp, pc, 0, ViolationKind::DivergentWarp, message)
    }

    /// A value that all lanes have to agree on.
    fn uniform(&self, block: &Block, warp: &Warp, pc: Pc, slot: Slot, what: &str) -> Result<u64, Fail> {
        let values = warp.lanes.get64(slot);
        let [first, rest @ ..] = values;
        if rest.iter().all(|value| *value == first) {
            return Ok(first);
        }
        Err(self.invalid(block, warp, pc, format!("{what} is not the same in all lanes")))
    }

    fn descriptor(&self, block: &Block, warp: &Warp, pc: Pc, bits: u64) -> Result<Descriptor, Fail> {
        Descriptor::parse(bits).map_err(|message| self.invalid(block, warp, pc, message))
    }

    fn invalid(&self, block: &Block, warp: &Warp, pc: Pc, message: String) -> Fail {
        self.fail(block, warp, pc, 0, ViolationKind::InvalidOperand, message)
    }

    /// Units of 16 bytes, in the order of their addresses, are read at some time until the operation is complete.
    fn claim(
        &mut self,
        block: &mut Block,
        warp: &Warp,
        pc: Pc,
        moment: Moment,
        units: &[u64],
    ) -> Result<(), Fail> {
        let access = ProxyAccess {
            clocks: &block.clocks,
            warp: warp.index,
            lanes: warp.live,
            moment,
            reduces: false,
            pc,
        };
        let claimed = block.shared.proxy_claim_rows(&access, units);
        claimed.map_err(|fault| self.fault(block, warp, pc, fault))
    }
}

fn ascending(units: &[u64]) -> Vec<u64> {
    let mut sorted = units.to_vec();
    sorted.sort_unstable();
    sorted
}

fn unit_bytes(block: &Block, address: u64) -> &[u8; 16] {
    const NOTHING: &[u8; 16] = &[0; 16];
    block.shared.proxy_bytes(address, 16).first_chunk().unwrap_or(NOTHING)
}

fn read_b(block: &Block, pc: Pc, op: &MultiplyOp, units: &[u64]) -> SharedB {
    let bytes = units.iter().map(|unit| unit_bytes(block, *unit));
    let columns = BColumns::from_units(&op.form, op.b_major, bytes, op.negate_b);
    SharedB { columns, unwritten: units_unwritten(block, pc, op.b_major, units) }
}

/// The lines of [`Descriptor::units`] that a unit has elements of: which, and how many.
pub(super) fn lines_of_unit(major: Major, index: usize) -> std::ops::Range<usize> {
    match major {
        Major::K => index / 2..index / 2 + 1,
        Major::Lines => index / 16 * 8..index / 16 * 8 + 8,
    }
}
