//! Counters as they are kept while a launch runs: plain numbers, one tally for each host thread, added up at the end.

use std::collections::BTreeMap;

use crate::program::{Pc, Program};
use crate::report::{BankConflicts, Counters, GlobalTraffic, InstructionClass, SharedTraffic};

/// The types that tensor operations are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TensorType {
    F16,
    Bf16,
    Tf32,
    F64,
    E4m3,
    E5m2,
    S8,
    U8,
    S4,
    U4,
    B1,
}

impl TensorType {
    const ALL: [Self; 11] = [
        Self::F16,
        Self::Bf16,
        Self::Tf32,
        Self::F64,
        Self::E4m3,
        Self::E5m2,
        Self::S8,
        Self::U8,
        Self::S4,
        Self::U4,
        Self::B1,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Tf32 => "tf32",
            Self::F64 => "f64",
            Self::E4m3 => "e4m3",
            Self::E5m2 => "e5m2",
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::S4 => "s4",
            Self::U4 => "u4",
            Self::B1 => "b1",
        }
    }
}

/// The counters of a launch, or of a part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub by_class: [u64; InstructionClass::ALL.len()],
    pub thread_instructions: u64,
    pub divergent_branches: u64,
    pub global_read: GlobalTraffic,
    pub global_written: GlobalTraffic,
    pub shared_read: SharedTraffic,
    pub shared_written: SharedTraffic,
    /// Requests with conflicts, and these conflicts, by instruction. Kernels without any pay nothing for it.
    conflicts: BTreeMap<Pc, (u64, u64)>,
    pub tensor_flops: [u64; TensorType::ALL.len()],
    pub barriers: u64,
    pub waits: u64,
    pub atomics: u64,
}

impl Tally {
    /// Warp instructions.
    pub fn instructions(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// An access to shared memory has had so many conflicts.
    pub fn note_conflicts(&mut self, pc: Pc, conflicts: u64) {
        if conflicts != 0 {
            let (requests, sum) = self.conflicts.entry(pc).or_default();
            *requests += 1;
            *sum += conflicts;
        }
    }

    /// Adds the counters of another part.
    pub fn add(&mut self, other: &Self) {
        let pairs = self.by_class.iter_mut().zip(other.by_class);
        pairs.chain(self.tensor_flops.iter_mut().zip(other.tensor_flops)).for_each(|(sum, n)| *sum += n);
        self.thread_instructions += other.thread_instructions;
        self.divergent_branches += other.divergent_branches;
        for (sum, part) in
            [(&mut self.global_read, other.global_read), (&mut self.global_written, other.global_written)]
        {
            sum.requests += part.requests;
            sum.requested_bytes += part.requested_bytes;
            sum.sectors += part.sectors;
            sum.issued_bytes += part.issued_bytes;
            sum.unique_bytes += part.unique_bytes;
        }
        for (sum, part) in
            [(&mut self.shared_read, other.shared_read), (&mut self.shared_written, other.shared_written)]
        {
            sum.requests += part.requests;
            sum.requested_bytes += part.requested_bytes;
            sum.wavefronts += part.wavefronts;
            sum.conflicts += part.conflicts;
        }
        for (pc, part) in &other.conflicts {
            let (requests, conflicts) = self.conflicts.entry(*pc).or_default();
            *requests += part.0;
            *conflicts += part.1;
        }
        self.barriers += other.barriers;
        self.waits += other.waits;
        self.atomics += other.atomics;
    }

    /// As they are reported of a launch of `program`.
    pub fn counters(&self, program: &Program) -> Counters {
        let conflicts_at = |(pc, &(requests, conflicts)): (&Pc, &(u64, u64))| {
            let location = program.location(*pc)?;
            Some(BankConflicts { location, requests, conflicts })
        };
        let mut bank_conflicts: Vec<_> = self.conflicts.iter().filter_map(conflicts_at).collect();
        bank_conflicts.sort_by_key(|place| place.location.ptx_line);
        Counters {
            instructions: self.instructions(),
            thread_instructions: self.thread_instructions,
            by_class: InstructionClass::ALL.iter().map(|c| (c.name(), self.by_class[*c as usize])).collect(),
            divergent_branches: self.divergent_branches,
            global_read: self.global_read,
            global_written: self.global_written,
            shared_read: self.shared_read,
            shared_written: self.shared_written,
            bank_conflicts,
            tensor_flops: TensorType::ALL
                .iter()
                .map(|t| (t.name(), self.tensor_flops[*t as usize]))
                .filter(|(_, flops)| *flops != 0)
                .collect(),
            barriers: self.barriers,
            waits: self.waits,
            atomics: self.atomics,
        }
    }
}
