//! The parts of a warp's access that shared and global memory have in common.

use super::runs::{Run, Runs, lanes_of};
use super::{AtomicOrder, Fault, LaneBytes, Space, Strength, WarpAccess};
use crate::race::{Accessor, BlockClocks, Conflict, Shadow, SyncVariables};
use crate::violation::ViolationKind;

/// Judges and records a run.
#[inline]
pub(super) fn access_shadow(
    shadow: &mut Shadow,
    accessor: &Accessor<'_>,
    run: &Run,
    offset: usize,
    size: usize,
    writes: bool,
) -> Result<(), Conflict> {
    match (run.same, writes) {
        (0, false) => shadow.read_lanes(accessor, offset, size, run.lanes()),
        (0, true) => shadow.write_lanes(accessor, offset, size, run.lanes()),
        (_, false) => shadow.read_same(accessor, offset, size, run.by),
        (_, true) => shadow.write_same(accessor, offset, size, run.by),
    }
}

/// Spreads bytes over consecutive lanes.
#[inline]
pub(super) fn copy_out(bytes: &[u8], size: usize, lanes: &mut [[u8; 16]]) {
    fn fixed<const SIZE: usize>(bytes: &[u8], lanes: &mut [[u8; 16]]) {
        let (chunks, _) = bytes.as_chunks::<SIZE>();
        for (lane, chunk) in lanes.iter_mut().zip(chunks) {
            lane[..SIZE].copy_from_slice(chunk);
        }
    }
    match size {
        1 => fixed::<1>(bytes, lanes),
        2 => fixed::<2>(bytes, lanes),
        4 => fixed::<4>(bytes, lanes),
        8 => fixed::<8>(bytes, lanes),
        _ => fixed::<16>(bytes, lanes),
    }
}

/// Writes the values of a run to its place. Of several lanes at one address the last one's value stays.
#[inline]
pub(super) fn write_run(place: &mut [u8], run: &Run, size: usize, values: &LaneBytes) {
    fn fixed<const SIZE: usize>(place: &mut [u8], lanes: &[[u8; 16]]) {
        let (chunks, _) = place.as_chunks_mut::<SIZE>();
        for (chunk, lane) in chunks.iter_mut().zip(lanes) {
            chunk.copy_from_slice(&lane[..SIZE]);
        }
    }
    if run.same != 0 {
        let last = run.same.ilog2() as usize;
        place.copy_from_slice(&values[last][..size]);
        return;
    }
    let lanes = &values[run.lanes()];
    match size {
        1 => fixed::<1>(place, lanes),
        2 => fixed::<2>(place, lanes),
        4 => fixed::<4>(place, lanes),
        8 => fixed::<8>(place, lanes),
        _ => fixed::<16>(place, lanes),
    }
}

/// Several lanes of one weak store at one address must store the same.
pub(super) fn same_values(
    space: Space,
    access: &WarpAccess<'_>,
    runs: &Runs,
    values: &LaneBytes,
) -> Result<(), Fault> {
    if access.strength != Strength::Weak {
        return Ok(());
    }
    for run in runs.as_slice().iter().filter(|run| run.same != 0) {
        let value = &values[run.first][..access.size];
        if let Some(lane) = lanes_of(run.same).find(|lane| &values[*lane][..access.size] != value) {
            let message = format!(
                "lanes {} and {lane} store different values to the same {} memory in one instruction",
                run.first,
                space.name()
            );
            return Err(access.fault(space.race(), lane, message));
        }
    }
    Ok(())
}

/// What lanes of a load acquire from the locations that threads synchronise through.
pub(super) fn synchronize_load(
    sync: &SyncVariables,
    clocks: &mut BlockClocks,
    warp: usize,
    access: &WarpAccess<'_>,
    lanes: u32,
) {
    let Strength::Strong(scope) = access.strength else {
        return;
    };
    if sync.is_empty() {
        return;
    }
    for lane in lanes_of(lanes) {
        for key in SyncVariables::keys(access.addresses[lane], access.size) {
            if let Some(variable) = sync.get(key) {
                clocks.strong_read(warp, 1 << lane, variable, scope, access.order.acquire);
            }
        }
    }
}

/// What lanes of a store do to the locations that threads synchronise through.
pub(super) fn synchronize_store(
    sync: &mut SyncVariables,
    clocks: &mut BlockClocks,
    warp: usize,
    access: &WarpAccess<'_>,
    lanes: u32,
) {
    match access.strength {
        Strength::Weak if sync.is_empty() => {}
        Strength::Weak => {
            lanes_of(lanes).for_each(|lane| sync.overwrite(access.addresses[lane], access.size));
        }
        Strength::Strong(scope) => {
            let release = access.order.release;
            for lane in lanes_of(lanes) {
                let releases = release || clocks.has_fenced(warp);
                for key in SyncVariables::keys(access.addresses[lane], access.size) {
                    if let Some(variable) = sync.writable(key, releases) {
                        clocks.strong_write(warp, 1 << lane, variable, scope, release, false);
                    }
                }
            }
        }
    }
}

/// What one lane's atomic does to the location as one that threads synchronise through.
pub(super) fn synchronize_atomic(
    sync: &mut SyncVariables,
    clocks: &mut BlockClocks,
    warp: usize,
    lane: usize,
    access: &WarpAccess<'_>,
    order: AtomicOrder,
) {
    let Strength::Strong(scope) = access.strength else {
        return;
    };
    let releases = order.release || clocks.has_fenced(warp);
    for key in SyncVariables::keys(access.addresses[lane], access.size) {
        if let Some(variable) = sync.writable(key, releases) {
            if !order.reduction {
                clocks.strong_read(warp, 1 << lane, variable, scope, order.acquire);
            }
            clocks.strong_write(warp, 1 << lane, variable, scope, order.release, true);
        }
    }
}

impl Space {
    fn race(self) -> ViolationKind {
        match self {
            Self::Shared => ViolationKind::SharedRace,
            _ => ViolationKind::GlobalRace,
        }
    }
}

/// Updates up to eight bytes, and returns what they were.
pub(super) fn update_bytes(place: &mut [u8], lane: usize, update: &mut dyn FnMut(usize, u64) -> u64) -> u64 {
    let mut bytes = [0; 8];
    let size = place.len().min(8);
    bytes[..size].copy_from_slice(&place[..size]);
    let old = u64::from_le_bytes(bytes);
    place[..size].copy_from_slice(&update(lane, old).to_le_bytes()[..size]);
    old
}
