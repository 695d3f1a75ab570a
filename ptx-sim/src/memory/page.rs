//! One page of global memory: its bytes, which of them were written, and who accessed them.

use std::ops::Range;

use super::bits::Bits;
use super::garbage;
use super::runs::PAGE;
use crate::race::{LaunchNumbers, Shadow, SyncVariables};

const SIZE: usize = PAGE as usize;

/// Which bytes of a page were written.
#[derive(Debug)]
enum Initialized {
    None,
    Some(Bits),
    All,
}

/// The different bytes that a launch touched in one direction.
#[derive(Debug)]
struct Touched {
    first_block: u32,
    bytes: Bits,
    /// Of launches that overlap this one.
    others: Vec<(u32, Bits)>,
}

impl Touched {
    fn new() -> Self {
        Self { first_block: 0, bytes: Bits::new(SIZE), others: Vec::new() }
    }

    fn add(&mut self, launch: LaunchNumbers, range: Range<usize>) -> u32 {
        if self.first_block != launch.first_block {
            self.switch(launch);
        }
        self.bytes.insert(range)
    }

    fn forget_before(&mut self, first_block: u32) {
        if self.first_block < first_block {
            *self = Self::new();
        }
    }

    /// Another launch than the last one touches bytes.
    fn switch(&mut self, launch: LaunchNumbers) {
        let first_block = launch.first_block;
        self.others.retain(|(other, _)| *other >= launch.ordered_before);
        if self.first_block < launch.ordered_before {
            self.bytes.clear();
        } else {
            let known = self.others.iter().position(|(other, _)| *other == first_block);
            let bytes = known.map_or_else(|| Bits::new(SIZE), |index| self.others.swap_remove(index).1);
            self.others.push((self.first_block, std::mem::replace(&mut self.bytes, bytes)));
        }
        self.first_block = first_block;
    }
}

/// A page that an allocation reaches into. Allocations lie so far apart that it is only one.
#[derive(Debug)]
pub(super) struct Page {
    /// The bytes that belong to the allocation.
    pub valid: Range<usize>,
    pub read_only: bool,
    pub data: Box<[u8; SIZE]>,
    initialized: Initialized,
    read: Touched,
    written: Touched,
    shadow: Option<Box<Shadow>>,
    /// The last launch that accessed the shadow: that of this first block.
    shadow_launch: u32,
    pub sync: SyncVariables,
}

impl Page {
    pub fn new(address: u64, valid: Range<usize>, read_only: bool, seed: u64) -> Self {
        let mut data = Box::new([0; SIZE]);
        garbage(&mut data[..], seed, address);
        Self {
            valid,
            read_only,
            data,
            initialized: Initialized::None,
            read: Touched::new(),
            written: Touched::new(),
            shadow: None,
            shadow_launch: 0,
            sync: SyncVariables::default(),
        }
    }

    /// Bytes have been written.
    pub fn initialize(&mut self, range: Range<usize>) {
        let valid = self.valid.clone();
        if range == valid {
            self.initialized = Initialized::All;
        }
        match &mut self.initialized {
            Initialized::All => {}
            Initialized::Some(bits) => {
                // The last new bytes of a page are mostly written at its end.
                if bits.insert(range.clone()) != 0
                    && range.end == valid.end
                    && bits.first_missing(valid).is_none()
                {
                    self.initialized = Initialized::All;
                }
            }
            Initialized::None => {
                let mut bits = Bits::new(SIZE);
                bits.insert(range);
                self.initialized = Initialized::Some(bits);
            }
        }
    }

    /// Bytes hold what uninitialised bytes held.
    pub fn uninitialize(&mut self, range: Range<usize>) {
        if let Initialized::All = self.initialized {
            let mut bits = Bits::new(SIZE);
            bits.insert(self.valid.clone());
            self.initialized = Initialized::Some(bits);
        }
        if let Initialized::Some(bits) = &mut self.initialized {
            bits.remove(range);
        }
    }

    /// The first byte of a range that nothing has written.
    #[inline]
    pub fn first_uninitialized(&self, range: Range<usize>) -> Option<usize> {
        match &self.initialized {
            Initialized::All => None,
            Initialized::Some(bits) => bits.first_missing(range),
            Initialized::None => Some(range.start),
        }
    }

    /// Counts the bytes of a range that the launch reads for the first time.
    pub fn count_read(&mut self, launch: LaunchNumbers, range: Range<usize>) -> u64 {
        self.read.add(launch, range).into()
    }

    /// Counts the bytes of a range that the launch writes for the first time.
    pub fn count_written(&mut self, launch: LaunchNumbers, range: Range<usize>) -> u64 {
        self.written.add(launch, range).into()
    }

    /// Who accessed the page.
    pub fn shadow(&mut self, launch: LaunchNumbers) -> &mut Shadow {
        if self.shadow_launch != launch.first_block {
            if self.shadow_launch < launch.ordered_before {
                self.sync.clear();
            }
            self.shadow_launch = launch.first_block;
        }
        self.shadow.get_or_insert_with(|| Box::new(Shadow::new(SIZE)))
    }

    pub fn has_shadow(&self) -> bool {
        self.shadow.is_some()
    }

    /// Forgets accesses that happened before all that will come: those of launches before this first block.
    pub fn forget_before(&mut self, first_block: u32) {
        self.read.forget_before(first_block);
        self.written.forget_before(first_block);
        if self.shadow_launch < first_block {
            self.shadow = None;
            self.sync.clear();
        }
    }
}
