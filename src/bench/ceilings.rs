//! What a device reaches with kernels that do one thing alone, and the least time of an operation by that.

use super::{Meter, Work, ceiling_works};
use crate::cost::Cost;
use crate::tensor::DType;
use crate::{Error, Result};

/// Bytes that are read, or read and written, at a time: many times what any L2 holds.
const MOST_BYTES: u64 = 2 << 30;
/// No more than this part of what is free, since each call has memory of its own.
const FREE_SHARE: u64 = 16;

/// What a device reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceilings {
    /// Bytes read plus bytes written a second, of a large copy.
    pub copy_bytes_per_second: f64,
    /// Bytes a second of a kernel that only reads.
    pub read_bytes_per_second: f64,
    /// Operations a second of the tensor cores, in bf16 or f16 with f32 sums.
    pub tensor_flops_per_second: f64,
    /// The kernel that reached it.
    pub tensor_kernel: &'static str,
    /// One empty kernel in a graph of many.
    pub launch_microseconds: f64,
}

/// Which ceiling an operation meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// That of the memory.
    Memory,
    /// That of the tensor cores.
    TensorCores,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Bound::Memory => "memory",
            Bound::TensorCores => "tensor cores",
        })
    }
}

impl Ceilings {
    /// An H200 by its datasheet, for predictions without one: 4.8 TB/s and 989 TFLOP/s.
    pub const H200_DATASHEET: Self = Ceilings {
        copy_bytes_per_second: 4.8e12,
        read_bytes_per_second: 4.8e12,
        tensor_flops_per_second: 989e12,
        tensor_kernel: "",
        launch_microseconds: 0.0,
    };

    /// Measures them: of reading, of copying and of the tensor cores the fastest way of several, on a device of compute
    /// capability 9.0 `wgmma` among them (a build without its kernels has `mma.sync` alone, which `tensor_kernel` says).
    ///
    /// An error of the driver names the kernel.
    pub fn measure(meter: &mut Meter, dtype: DType) -> Result<Self> {
        let device = meter.stream().device().clone();
        let limits = device.properties().limits();
        let bytes = MOST_BYTES.min(device.memory_bytes()?.free / FREE_SHARE);
        let mut ceilings = Ceilings::NONE;
        for work in ceiling_works(bytes, &limits) {
            for plan in work.plans(dtype, &limits)?.iter().filter(|plan| device.supports(plan.launch.kernel))
            {
                let kernel = plan.launch.kernel.name();
                let timing = meter.time(work.as_ref(), dtype).map_err(|error| named(kernel, error))?;
                ceilings.count(work.as_ref(), kernel, timing.microseconds);
            }
        }
        Ok(ceilings)
    }

    /// Before anything is measured.
    const NONE: Self = Ceilings {
        copy_bytes_per_second: 0.0,
        read_bytes_per_second: 0.0,
        tensor_flops_per_second: 0.0,
        tensor_kernel: "",
        launch_microseconds: f64::INFINITY,
    };

    /// Takes one of the [`ceiling_works`] in, where it is faster than what came before.
    fn count(&mut self, work: &dyn Work, kernel: &'static str, microseconds: f64) {
        let cost = work.cost();
        let a_second = |count: u64| count as f64 / microseconds * 1e6;
        match work.op() {
            "ceiling_read" => {
                self.read_bytes_per_second = self.read_bytes_per_second.max(a_second(cost.bytes));
            }
            "ceiling_copy" => {
                self.copy_bytes_per_second = self.copy_bytes_per_second.max(a_second(cost.bytes));
            }
            "ceiling_empty" => self.launch_microseconds = self.launch_microseconds.min(microseconds),
            _ if a_second(cost.flops) > self.tensor_flops_per_second => {
                self.tensor_flops_per_second = a_second(cost.flops);
                self.tensor_kernel = kernel;
            }
            _ => {}
        }
    }

    /// The least microseconds of an operation, and the ceiling that sets them. What is written takes as long as copying as
    /// much, what is read beyond that as long as reading it.
    pub fn floor(&self, cost: &Cost) -> (f64, Bound) {
        let copied = 2 * cost.written.min(cost.bytes / 2);
        let memory = copied as f64 / self.copy_bytes_per_second
            + (cost.bytes - copied) as f64 / self.read_bytes_per_second;
        let tensor = cost.flops as f64 / self.tensor_flops_per_second;
        if tensor > memory { (tensor * 1e6, Bound::TensorCores) } else { (memory * 1e6, Bound::Memory) }
    }
}

/// An error of the driver, with the kernel at fault.
fn named(kernel: &str, error: Error) -> Error {
    match error {
        Error::Driver { call, reason } => Error::Driver { call, reason: format!("{kernel}: {reason}") },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CeilingCopy, CeilingEmpty, CeilingMma, CeilingRead, CeilingWgmma, H200};
    use super::*;

    const CEILINGS: Ceilings = Ceilings {
        copy_bytes_per_second: 4e12,
        read_bytes_per_second: 5e12,
        tensor_flops_per_second: 800e12,
        tensor_kernel: "ceiling_sm90_wgmma_bf16",
        launch_microseconds: 1.3,
    };

    #[test]
    fn the_floor_is_the_longer_of_memory_and_tensor_cores() {
        let floor = |flops, bytes, written| CEILINGS.floor(&Cost { flops, bytes, written });
        let is = |(microseconds, bound): (f64, Bound), expected: f64, expected_bound| {
            assert!((microseconds - expected).abs() < 1e-9 * expected.max(1.0), "{microseconds} {expected}");
            assert_eq!(bound, expected_bound);
        };
        // 10 MB that are read alone, at 5 TB/s.
        is(floor(0, 10_000_000, 0), 2.0, Bound::Memory);
        // A copy of 8 MB to 8 MB, at 4 TB/s for both together.
        is(floor(0, 16_000_000, 8_000_000), 4.0, Bound::Memory);
        // 1 MB written: with 1 MB read at the rate of copies, the other 8 MB at that of reading.
        is(floor(0, 10_000_000, 1_000_000), 0.5 + 1.6, Bound::Memory);
        // More written than read: as if all had been copied.
        is(floor(0, 12_000_000, 11_000_000), 3.0, Bound::Memory);
        // 80 GFLOP at 800 TFLOP/s, under and over the time of the memory.
        is(floor(80_000_000_000, 10_000_000, 0), 100.0, Bound::TensorCores);
        is(floor(800_000_000, 10_000_000, 0), 2.0, Bound::Memory);
        // Equal ones are the memory's, and nothing takes no time.
        is(floor(1_600_000_000, 10_000_000, 0), 2.0, Bound::Memory);
        is(floor(0, 0, 0), 0.0, Bound::Memory);
        assert_eq!(format!("{} {}", Bound::Memory, Bound::TensorCores), "memory tensor cores");
    }

    #[test]
    fn the_fastest_of_each_kind_counts() {
        let mut ceilings = Ceilings::NONE;
        let read = CeilingRead { vectors: 1 << 20, most_blocks: 1 };
        assert_eq!(read.cost(), Cost { flops: 0, bytes: (16 << 20) + 4, written: 4 });
        for microseconds in [4.0, 8.0] {
            ceilings.count(&read, "ceiling_read", microseconds);
        }
        assert_eq!(ceilings.read_bytes_per_second, f64::from((16 << 20) + 4) / 4e-6);
        for microseconds in [8.0, 4.0] {
            ceilings.count(&CeilingCopy { vectors: 1 << 20, most_blocks: 1 }, "ceiling_copy", microseconds);
        }
        assert_eq!(ceilings.copy_bytes_per_second, f64::from(32 << 20) / 4e-6);
        for microseconds in [2.0, 1.5, 3.0] {
            ceilings.count(&CeilingEmpty, "ceiling_empty", microseconds);
        }
        assert_eq!(ceilings.launch_microseconds, 1.5);
        // 8 warps of 64 x 32 x 16.
        let mma = CeilingMma { blocks: 2, rounds: 4 };
        assert_eq!(mma.cost().flops, 2 * 64 * 32 * 16 * 8 * 2 * 4);
        ceilings.count(&mma, "ceiling_mma_bf16", 1.0);
        assert_eq!(ceilings.tensor_kernel, "ceiling_mma_bf16");
        let wgmma = CeilingWgmma { blocks: 2, rounds: 4 };
        assert_eq!(wgmma.cost().flops, 2 * 128 * 256 * 64 * 2 * 4);
        ceilings.count(&wgmma, "ceiling_sm90_wgmma_bf16", 1.0);
        assert_eq!(ceilings.tensor_kernel, "ceiling_sm90_wgmma_bf16");
        assert_eq!(ceilings.tensor_flops_per_second, wgmma.cost().flops as f64 / 1e-6);
        // A slower one after it.
        ceilings.count(&wgmma, "slower", 2.0);
        assert_eq!(ceilings.tensor_kernel, "ceiling_sm90_wgmma_bf16");
    }

    #[test]
    fn all_that_is_measured_ends_up_in_a_ceiling() {
        let mut ceilings = Ceilings::NONE;
        for work in ceiling_works(MOST_BYTES, &H200) {
            let plans = work.plans(DType::F16, &H200).unwrap();
            let before = ceilings.clone();
            ceilings.count(work.as_ref(), plans[0].launch.kernel.name(), 1000.0);
            // Several grids are as fast as each other here.
            let known = ["ceiling_read", "ceiling_copy"].contains(&work.op()) && before != Ceilings::NONE;
            assert!(ceilings != before || known, "{}", work.op());
        }
        assert!(ceilings.read_bytes_per_second > 2e12 && ceilings.copy_bytes_per_second > 2e12);
        assert!(ceilings.tensor_flops_per_second > 1e14 && ceilings.launch_microseconds == 1000.0);
    }

    #[test]
    fn an_error_of_the_driver_names_the_kernel() {
        let error = Error::Driver { call: "cuStreamSynchronize", reason: "illegal instruction".into() };
        assert_eq!(
            named("ceiling_read", error).to_string(),
            "cuStreamSynchronize: ceiling_read: illegal instruction"
        );
        assert!(matches!(named("x", Error::OutOfMemory { bytes: 1 }), Error::OutOfMemory { bytes: 1 }));
    }
}
