use super::super::super::memory::Memory;
use super::*;
use crate::cost;
use crate::device::DeviceChoice;
use crate::gpu::Device;
use crate::plan::{self, Limits};

/// A kernel that is compiled but has no cases of its own would be noticed here.
#[test]
fn cases_name_every_candidate() {
    let limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };
    let plans = plan::matmul_candidates(DType::F16, &sums(3, 64, 64, ROWS), &limits).unwrap();
    let tiles: Vec<_> = plans.iter().map(|plan| plan.tile.map(|tile| [tile.m, tile.n, tile.k])).collect();
    assert_eq!(tiles, TILES.map(Some));
}

/// What each kernel moves, counted by the simulated GPU, is what `cost` says of it; no bank of shared memory is in conflict;
/// and the tensor cores do no more than the tiles.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn every_kernel_moves_the_bytes_of_its_tiles() {
    let device = Device::open(DeviceChoice::SIM).unwrap();
    let stream = device.new_stream().unwrap();
    for tile in TILES {
        let m = most_tokens(tile).min(128);
        for scales in [ROWS, BLOCKS] {
            let mut shapes = vec![
                sums(m, 512, 2048, scales),
                biased(sums(m, 256, 1024, scales)),
                f32_out(swiglu(m, 256, 1024, scales)),
            ];
            if tile[1] as usize == 2 * BLOCK {
                shapes.push(quantized(swiglu(128, 512, 1024, scales)));
            }
            for shape in shapes {
                let product =
                    Product { dtype: DType::BF16, shape, path: Path::Tile(tile), kind: Kind::Exact };
                let problem = product.problem().unwrap();
                let mut memory = Memory::allocate(&device, &problem.operands, true).unwrap();
                memory.initialise().unwrap();
                (problem.call)(&stream, &memory).unwrap();
                let limits = device.properties().limits();
                let plan = Path::Tile(tile).plan(DType::BF16, &shape, 0, &limits).unwrap().unwrap();
                let counters = &stream.reports().unwrap().unwrap()[0].counters;

                let (read, written) = (&counters.global_read, &counters.global_written);
                let name = product.name();
                assert_eq!(read.unique_bytes + written.unique_bytes, cost::matmul(&shape).bytes, "{name}");
                let (issued, expected) =
                    (read.issued_bytes + written.issued_bytes, cost::matmul_tile(&plan, &shape));
                assert!(
                    issued.abs_diff(expected) * 20 <= expected,
                    "{name}: {issued} bytes instead of {expected}"
                );
                assert_eq!(counters.shared_read.conflicts + counters.shared_written.conflicts, 0, "{name}");
                assert_eq!(counters.tensor_flops["f16"], cost::matmul(&shape).flops, "{name}");
            }
        }
    }
}
