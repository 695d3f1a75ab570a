//! Bounds, alignment, lifetime, initialisation, and what they are counted as.

use super::*;
use crate::memory::LocalMemory;
use crate::memory::traffic::{bank_wavefronts, sectors};

struct Device {
    memory: GlobalMemory,
    cache: PageCache,
    clocks: BlockClocks,
}

impl Device {
    fn new() -> Self {
        let memory = GlobalMemory::new(3);
        let launch = memory.begin_launch(1, 1).expect("numbers");
        let cache = PageCache::new(Checks::default(), false);
        Self { memory, cache, clocks: BlockClocks::new(launch.first_block, LANES, launch) }
    }

    fn run(&mut self, access: Access) -> Result<LaneBytes, Fault> {
        let mut out = values(|lane| lane as u32);
        let tally = &mut Tally::default();
        match access.kind {
            AccessKind::Read => {
                self.memory.load(&mut self.cache, &mut self.clocks, 0, &access.warp(), &mut out, tally)?;
            }
            AccessKind::Atomic => {
                let (update, old) = (&mut |_: usize, old: u64| old + 1, &mut [0; LANES]);
                let order = AtomicOrder::default();
                self.memory.atomic(
                    &mut self.cache,
                    &mut self.clocks,
                    0,
                    &access.warp(),
                    order,
                    update,
                    old,
                    tally,
                )?;
            }
            _ => self.memory.store(&mut self.cache, &mut self.clocks, 0, &access.warp(), &out, tally)?,
        }
        Ok(out)
    }

    fn fault(&mut self, access: Access) -> (ViolationKind, usize, u64, String) {
        let fault = self.run(access).expect_err("a fault");
        (fault.kind, fault.lane, fault.address, fault.message)
    }
}

#[test]
fn global_bounds() {
    let mut device = Device::new();
    let a = device.memory.allocate(1000).expect("room");
    let b = device.memory.allocate(100).expect("room");
    assert!(a.is_multiple_of(256) && !a.is_multiple_of(512) && b >= a + 1000 + 4096);
    device.memory.fill(a, &[1], 1000).expect("in bounds");
    device.run(Access::read(ALL, |lane| a + 4 * lane)).expect("in bounds");
    device.run(Access::read(1, |_| a + 996)).expect("in bounds");

    let (kind, lane, address, message) = device.fault(Access::read(ALL, |lane| a + 904 + 4 * lane));
    assert_eq!((kind, lane, address), (ViolationKind::OutOfBounds, 24, a + 1000));
    let expected = format!(
        "a 4-byte read outside every allocation, 4 bytes past the end of the allocation of 1000 bytes at {a:#x}"
    );
    assert_eq!(message, expected);
    // Straddling the end.
    let (kind, .., message) = device.fault(Access::write(1, |_| a + 992).size(16));
    assert_eq!(kind, ViolationKind::OutOfBounds);
    assert!(message.contains(" 8 bytes past the end"), "{message}");
    let (kind, .., message) = device.fault(Access::write(1, |_| b - 8).size(8));
    assert_eq!(kind, ViolationKind::OutOfBounds);
    assert!(message.contains(" 8 bytes before the allocation of 100 bytes"), "{message}");
    let (kind, lane, ..) = device.fault(Access::atomic(ALL, 0, Scope::Gpu));
    assert_eq!((kind, lane), (ViolationKind::OutOfBounds, 0));
    for address in [0, 4, u64::MAX - 3, u64::MAX - 15, 1 << 63, 0xffff_ffff_f000] {
        for access in
            [Access::read(1, |_| address), Access::write(ALL, |lane| address.wrapping_add(4 * lane))]
        {
            assert_eq!(device.fault(access).0, ViolationKind::OutOfBounds, "{address:#x}");
        }
    }
    // Nothing was written by the lanes before the one at fault.
    let mut bytes = [0; 4];
    device.fault(Access::write(ALL, |lane| a + 904 + 4 * lane));
    device.memory.host_read(a + 908, &mut bytes).expect("in bounds");
    assert_eq!(bytes, [1; 4]);
}

#[test]
fn runs_cross_pages() {
    let mut device = Device::new();
    let a = device.memory.allocate(3 * 4096).expect("room");
    let border = a.next_multiple_of(4096);
    device.run(Access::write(ALL, |lane| border - 200 + 8 * lane).size(8)).expect("in bounds");
    let out = device.run(Access::read(ALL, |lane| border - 200 + 8 * lane).size(8)).expect("in bounds");
    assert!((0..32).all(|lane| out[lane][..8] == values(|lane| lane as u32)[lane][..8]));
    device.clocks.sync_warp(0, ALL);
    assert!(device.memory.is_initialized(border - 200, 256));
    assert!(!device.memory.is_initialized(border - 200, 257));
    let (kind, lane, address, _) = device.fault(Access::read(ALL, |lane| border - 192 + 8 * lane).size(8));
    assert_eq!((kind, lane, address), (ViolationKind::UninitializedGlobal, 31, border + 56));
}

#[test]
fn alignment() {
    let mut device = Device::new();
    let a = device.memory.allocate(4096).expect("room");
    for (size, offset) in [(2, 1), (4, 2), (8, 4), (16, 8)] {
        let (kind, lane, address, message) =
            device.fault(Access::read(0b1100, |lane| a + if lane == 3 { offset } else { 0 }).size(size));
        assert_eq!((kind, lane, address), (ViolationKind::Misaligned, 3, a + offset));
        assert!(message.ends_with(&format!("must be aligned to {size} bytes")), "{message}");
    }
    let fault = Block::new(1).fault(0, Access::write(ALL, |lane| SHARED + 4 * lane + 2));
    assert_eq!((fault.kind, fault.lane), (ViolationKind::Misaligned, 0));
}

#[test]
fn lifetime() {
    let mut device = Device::new();
    let a = device.memory.allocate(1000).expect("room");
    device.run(Access::write(1, |_| a)).expect("in bounds");
    device.memory.free(a).expect("allocated");
    let (kind, .., message) = device.fault(Access::read(1, |_| a + 4));
    assert_eq!(kind, ViolationKind::UseAfterFree);
    assert_eq!(message, format!("a 4-byte read in the freed allocation of 1000 bytes at {a:#x}"));
    assert!(device.memory.free(a).expect_err("freed").contains("freed before"));
    assert!(device.memory.free(a + 4).is_err());
    assert!(device.memory.host_write(a, &[0]).is_err());
    assert_ne!(device.memory.allocate(1000).expect("room"), a);
    let c = device.memory.allocate_variable("table", 64, 4, true).expect("room");
    device.memory.host_write(c, &[7; 64]).expect("in bounds");
    assert_eq!(device.run(Access::read(1, |_| c)).expect("in bounds")[0][..4], [7; 4]);
    let (kind, .., message) = device.fault(Access::write(1, |_| c));
    assert_eq!(kind, ViolationKind::ReadOnly);
    assert!(message.contains("variable `table` of 64 bytes"), "{message}");
    assert_eq!(device.fault(Access::atomic(1, c, Scope::Gpu)).0, ViolationKind::ReadOnly);
}

#[test]
fn initialisation() {
    let mut device = Device::new();
    let a = device.memory.allocate(8192).expect("room");
    device.memory.host_write(a + 4, &[5; 9]).expect("in bounds");
    device.run(Access::read(0b11, |lane| a + 4 + 4 * lane)).expect("written");
    let (kind, lane, address, message) = device.fault(Access::read(1, |_| a).size(16));
    assert_eq!((kind, lane, address), (ViolationKind::UninitializedGlobal, 0, a));
    assert!(message.contains(&format!("byte {a:#x}")), "{message}");
    let (.., message) = device.fault(Access::read(1, |_| a + 12));
    assert!(message.contains(&format!("byte {:#x}", a + 13)), "{message}");
    assert_eq!(device.fault(Access::atomic(1, a, Scope::Gpu)).0, ViolationKind::UninitializedGlobal);
    device.memory.fill(a, &[1, 2, 3, 4], 2048).expect("in bounds");
    assert_eq!(device.run(Access::read(1, |_| a + 4096)).expect("written")[0][..4], [1, 2, 3, 4]);
    // Copies take uninitialised bytes along.
    let b = device.memory.allocate(8192).expect("room");
    device.memory.host_write(b + 4000, &[9; 200]).expect("in bounds");
    device.memory.copy(a, b, 8192).expect("in bounds");
    assert!(device.memory.is_initialized(a + 4000, 200));
    assert!(!device.memory.is_initialized(a + 3999, 1) && !device.memory.is_initialized(a + 4200, 1));
    // Overlapping ranges.
    let pattern: Vec<u8> = (0..6000).map(|i| (i * 7 % 251) as u8).collect();
    device.memory.host_write(b, &pattern).expect("in bounds");
    device.memory.copy(b + 100, b, 6000).expect("in bounds");
    let mut bytes = vec![0; 6000];
    device.memory.host_read(b + 100, &mut bytes).expect("in bounds");
    assert_eq!(bytes, pattern);

    let mut block = Block::new(1);
    block.ok(0, Access::write(1, |_| SHARED).size(2));
    let fault = block.fault(0, Access::read(1, |_| SHARED));
    assert_eq!(fault.kind, ViolationKind::UninitializedShared);
    assert!(fault.message.ends_with("byte 0x102"), "{}", fault.message);
}

#[test]
fn shared_bounds() {
    let mut block = Block::new(1);
    let fault = block.fault(0, Access::write(ALL, |lane| SHARED + 4096 - 64 + 4 * lane));
    assert_eq!((fault.kind, fault.lane), (ViolationKind::OutOfBounds, 16));
    assert_eq!(
        fault.message,
        "a 4-byte write reaches 4 bytes past the end of the block's 4096 bytes of shared memory"
    );
    for address in [0, SHARED - 4, SHARED + 4096, u64::MAX - 3, u64::MAX - 7] {
        for access in [
            Access::read(1, |_| address),
            Access::write(1, |_| address),
            Access::atomic(1, address, Scope::Cta),
        ] {
            assert_eq!(block.fault(0, access).kind, ViolationKind::OutOfBounds, "{address:#x}");
        }
    }
    assert!(block.fault(0, Access::read(1, |_| SHARED - 4)).message.contains("4 bytes before"));
    let copy = Access::new(AccessKind::AsyncWrite, 1, |_| SHARED + 4096).size(16);
    let fault =
        block.shared.async_begin(&block.clocks, 0, &copy.warp(), &mut block.tally).expect_err("a fault");
    assert_eq!(fault.kind, ViolationKind::OutOfBounds);
}

#[test]
fn local_memory() {
    let mut local = LocalMemory::new(32, 0x10, Checks::default(), 1);
    let mut out = [[0; 16]; LANES];
    let write = Access::write(ALL, |lane| 0x10 + lane % 8 * 4);
    local.store(&write.warp(), &values(|lane| lane as u32)).expect("in bounds");
    local.load(&write.warp(), &mut out).expect("written");
    assert!((0..32).all(|lane| out[lane][..4] == (lane as u32).to_le_bytes()));
    let fault = local.load(&Access::read(0b110, |_| 0x10).warp(), &mut out).expect_err("a fault");
    assert_eq!((fault.kind, fault.lane), (ViolationKind::UninitializedLocal, 1));
    for address in [0, 0x30, u64::MAX - 3] {
        let fault = local.store(&Access::write(1, |_| address).warp(), &out).expect_err("a fault");
        assert_eq!(fault.kind, ViolationKind::OutOfBounds);
    }
}

#[test]
fn allocation_limits() {
    let memory = GlobalMemory::new(0);
    assert!(memory.allocate(0).is_err());
    assert!(memory.allocate(u64::MAX).is_err());
    assert!(memory.allocate(1 << 47).is_err());
    let huge = memory.allocate(1 << 40).expect("sparse");
    memory.host_write(huge + (1 << 39), &[1, 2]).expect("in bounds");
    let mut bytes = [0; 2];
    memory.host_read(huge + (1 << 39), &mut bytes).expect("in bounds");
    assert_eq!(bytes, [1, 2]);
    assert!(memory.host_write(huge + (1 << 40) - 1, &[1, 2]).is_err());
    assert!(memory.fill(huge, &[1, 2], u64::MAX).is_err());
    assert!(memory.copy(huge, u64::MAX, 2).is_err());
    assert!(memory.host_read(u64::MAX, &mut bytes).is_err());
    memory.free(huge).expect("allocated");
}

#[test]
fn traffic() {
    let at =
        |address: &dyn Fn(u64) -> u64| -> [u64; LANES] { std::array::from_fn(|lane| address(lane as u64)) };
    assert_eq!(sectors(&at(&|lane| 4 * lane), ALL, 4), 4);
    assert_eq!(sectors(&at(&|lane| 16 + 4 * lane), ALL, 4), 5);
    assert_eq!(sectors(&at(&|lane| 16 * lane), ALL, 16), 16);
    assert_eq!(sectors(&at(&|lane| 128 * (31 - lane)), ALL, 4), 32);
    assert_eq!(sectors(&at(&|lane| 4 * (lane * 7 % 32)), ALL, 4), 4);
    assert_eq!(sectors(&at(&|_| 64), 0b1010, 2), 1);
    assert_eq!(sectors(&at(&|_| 64), 0, 4), 0);

    assert_eq!(bank_wavefronts(&at(&|lane| 4 * lane), ALL, 4), (1, 1));
    assert_eq!(bank_wavefronts(&at(&|_| 4), ALL, 4), (1, 1));
    assert_eq!(bank_wavefronts(&at(&|lane| 8 * lane), ALL, 4), (2, 1));
    assert_eq!(bank_wavefronts(&at(&|lane| 128 * lane), ALL, 4), (32, 1));
    assert_eq!(bank_wavefronts(&at(&|lane| 2 * lane), ALL, 2), (1, 1));
    assert_eq!(bank_wavefronts(&at(&|lane| 8 * lane), ALL, 8), (2, 2));
    assert_eq!(bank_wavefronts(&at(&|lane| 128 * lane), ALL, 8), (32, 2));
    assert_eq!(bank_wavefronts(&at(&|lane| 16 * lane), ALL, 16), (4, 4));
    assert_eq!(bank_wavefronts(&at(&|lane| 128 * lane), ALL, 16), (32, 4));
    assert_eq!(bank_wavefronts(&at(&|lane| 128 * lane + 16 * (lane % 8)), ALL, 16), (4, 4));
    assert_eq!(bank_wavefronts(&at(&|lane| 16 * lane), 0xff, 16), (1, 1));
    assert_eq!(bank_wavefronts(&at(&|lane| 4 * lane), 0, 4), (0, 0));
    // Two words in one bank, and both shared by lanes.
    assert_eq!(bank_wavefronts(&at(&|lane| 128 * (lane % 2)), ALL, 4), (2, 1));

    let mut block = Block::new(1);
    block.ok(0, Access::write(ALL, |lane| SHARED + 8 * lane));
    let written = block.tally.shared_written;
    assert_eq!(
        (written.requests, written.requested_bytes, written.wavefronts, written.conflicts),
        (1, 128, 2, 1)
    );
}
