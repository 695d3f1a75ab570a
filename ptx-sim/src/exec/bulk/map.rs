//! Tensor maps as a kernel finds them: 128 bytes of its parameters, of constant or of global memory.

use super::super::access::addresses;
use super::super::fault::Fail;
use super::super::warp::Warp;
use super::super::{Block, Engine};
use crate::memory::windows;
use crate::program::{MapAddress, Pc};
use crate::ptx::ast::Space;
use crate::tensor_map::TensorMap;
use crate::violation::ViolationKind;

const BYTES: usize = 128;
const ALIGN: u64 = 64;

impl Engine<'_> {
    /// The tensor map that a lane names.
    pub(super) fn tensor_map(
        &mut self,
        block: &Block,
        warp: &Warp,
        pc: Pc,
        lane: usize,
        operand: &MapAddress,
    ) -> Result<TensorMap, Fail> {
        let address = addresses(warp, &operand.address)[lane];
        let fail = |kind, message| {
            let mut fail = self.fail(block, warp, pc, lane, kind, message);
            fail.address = Some(address);
            fail
        };
        let space = match (operand.space, address) {
            (Space::Generic, windows::SHARED..windows::PARAMETERS) => {
                let message = "a tensor map in shared or local memory: it must lie in the kernel's parameters \
                               (__grid_constant__), or in constant or global memory";
                return Err(fail(ViolationKind::InvalidOperand, message.into()));
            }
            (Space::Generic, windows::PARAMETERS..) => Space::Param,
            (Space::Generic, _) => Space::Global,
            (space, _) => space,
        };
        if !address.is_multiple_of(ALIGN) {
            let message = format!("the address of a tensor map must be a multiple of {ALIGN}");
            return Err(fail(ViolationKind::Misaligned, message));
        }
        let mut bytes = [0; BYTES];
        match space {
            Space::Param => {
                let start =
                    if address >= windows::PARAMETERS { address - windows::PARAMETERS } else { address };
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let parameters = self.launch.parameters;
                let Some(found) = parameters.get(start..start.saturating_add(BYTES)) else {
                    let message = format!(
                        "a tensor map of {BYTES} bytes at {start:#x} of parameters that take {} bytes",
                        parameters.len()
                    );
                    return Err(fail(ViolationKind::OutOfBounds, message));
                };
                bytes.copy_from_slice(found);
            }
            Space::Global | Space::Const => {
                if let Err(reason) = self.launch.memory.check(address, BYTES as u64, false) {
                    let message = format!("a tensor map of {BYTES} bytes: {reason}");
                    return Err(fail(ViolationKind::OutOfBounds, message));
                }
                self.launch.memory.proxy_read(&mut self.cache, address, &mut bytes);
            }
            _ => {
                let message = "a tensor map in a state space that cannot hold one".into();
                return Err(fail(ViolationKind::InvalidOperand, message));
            }
        }
        TensorMap::decode(&bytes).map_err(|error| {
            let mut fail = self.fail(block, warp, pc, lane, ViolationKind::InvalidOperand, error.to_string());
            fail.address = Some(address);
            fail
        })
    }
}
