//! Bulk copies that reach the mbarriers which they signal.

use crate::exec::arrivals::{Arrival, Issuer};
use crate::exec::fault::{Fail, coordinates};
use crate::exec::{Block, Engine};
use crate::violation::ViolationKind;

impl Engine<'_> {
    /// The bytes of a copy have arrived: the mbarrier counts them, and its phase may be complete.
    pub(in crate::exec) fn complete_bytes(
        &mut self,
        block: &mut Block,
        arrival: &Arrival,
    ) -> Result<(), Fail> {
        self.progress += 1;
        let result = match block.mbarriers.get_mut(arrival.barrier) {
            None => Err("an mbarrier has been invalidated that a copy on its way is to signal".to_string()),
            Some(mbarrier) => {
                mbarrier.land(arrival.moment, arrival.issuer);
                let completed = mbarrier.phase.complete(arrival.bytes);
                mbarrier.settle();
                completed.map_err(|misuse| misuse.to_string())
            }
        };
        let kind = ViolationKind::MbarrierMisuse;
        result.map_err(|message| self.fail_issued(arrival.issuer, kind, arrival.barrier, message))
    }

    /// A violation by an asynchronous operation, told of who issued it.
    pub(in crate::exec) fn fail_issued(
        &self,
        issuer: Issuer,
        kind: ViolationKind,
        address: u64,
        message: String,
    ) -> Fail {
        let mut fail = self.fail_launch(kind, message);
        fail.location = self.launch.program.location(issuer.pc);
        fail.thread = Some(self.launch.thread(issuer.block, issuer.warp, issuer.lane));
        fail.address = Some(address);
        fail
    }

    /// All threads of a block have exited: bulk copies to it must be known to be complete, as its memory may go to
    /// another block now.
    pub(in crate::exec) fn check_landed(&self, block: &Block) -> Result<(), Fail> {
        let on_its_way = block.arrivals.first().map(|arrival| (arrival.barrier, arrival.issuer));
        let landed =
            || block.mbarriers.iter().find_map(|(address, mbarrier)| Some((address, mbarrier.unwaited()?)));
        let Some((address, issuer)) = on_its_way.or_else(landed) else { return Ok(()) };
        let [x, y, z] = coordinates(block.index, self.launch.config.grid);
        let message = format!(
            "block ({x}, {y}, {z}) exits without having waited for the mbarrier at {address:#x}, which this asynchronous \
             copy to its shared memory signals"
        );
        Err(self.fail_issued(issuer, ViolationKind::AsyncCopyRace, address, message))
    }
}
