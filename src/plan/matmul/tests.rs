use super::*;

const H200: Limits = Limits { num_sms: 132, shared_memory_per_block: 227 << 10 };
const A100: Limits = Limits { num_sms: 108, shared_memory_per_block: 163 << 10 };
const RTX4090: Limits = Limits { num_sms: 128, shared_memory_per_block: 99 << 10 };

/// `[n, k]` of qkv, attention's output, gate/up, down and the output head, of Llama 3.2 1B and 3B, 3 8B and 70B, 3.1 405B.
const MODELS: [[[usize; 2]; 5]; 5] = [
    [[3072, 2048], [2048, 2048], [16384, 2048], [2048, 8192], [128_256, 2048]],
    [[5120, 3072], [3072, 3072], [16384, 3072], [3072, 8192], [128_256, 3072]],
    [[6144, 4096], [4096, 4096], [28672, 4096], [4096, 14336], [128_256, 4096]],
    [[10240, 8192], [8192, 8192], [57344, 8192], [8192, 28672], [128_256, 8192]],
    [[18432, 16384], [16384, 16384], [106_496, 16384], [16384, 53248], [128_256, 16384]],
];

const TOKENS: [usize; 14] = [1, 2, 8, 9, 16, 17, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

fn shape(m: usize, n: usize, k: usize) -> MatmulShape {
    MatmulShape { m, n, k, ..MatmulShape::default() }
}

fn operands(storage: Storage) -> Operands {
    match storage {
        Storage::Native => Operands::Native,
        Storage::Int4 => Operands::Int4 { group: 128, zeros: false },
        Storage::Fp8 => Operands::Fp8 { x: Fp8Scales::Row, weight: Fp8Scales::Row, fast_accumulation: false },
    }
}

fn planned(m: usize, n: usize, k: usize, limits: &Limits) -> Plan {
    matmul(DType::BF16, &shape(m, n, k), false, 0, limits).unwrap().unwrap()
}

/// Tile of a plan: m, n, k.
fn tile(plan: &Plan) -> [u32; 3] {
    plan.tile.map(|tile| [tile.m, tile.n, tile.k]).unwrap()
}

fn models() -> impl Iterator<Item = [usize; 3]> {
    let shapes = MODELS.into_iter().flatten();
    shapes.flat_map(|[n, k]| TOKENS.into_iter().map(move |m| [m, n, k]))
}

#[test]
fn the_shapes_of_8b() {
    const M8: [u32; 3] = [8, 32, 64];
    const M16: [u32; 3] = [16, 32, 64];
    const SMALL: [u32; 3] = [64, 64, 128];
    const HALF: [u32; 3] = [64, 128, 64];
    const SQUARE: [u32; 3] = [128, 128, 64];
    const LARGE: [u32; 3] = [128, 256, 64];
    const FLAT: [u32; 3] = [128, 256, 32];
    let tiles = |n, k, limits: &Limits| TOKENS.map(|m| tile(&planned(m, n, k, limits)));
    for (n, k, limits, expected) in [
        (4096, 4096, &H200, [SMALL, SMALL, SMALL, HALF, SQUARE, LARGE, LARGE, LARGE, LARGE]),
        (4096, 14336, &H200, [SMALL, SMALL, SMALL, HALF, SQUARE, LARGE, LARGE, LARGE, LARGE]),
        (28672, 4096, &H200, [HALF, HALF, LARGE, LARGE, LARGE, LARGE, LARGE, LARGE, LARGE]),
        (28672, 4096, &A100, [SMALL, HALF, SQUARE, SQUARE, LARGE, LARGE, LARGE, LARGE, LARGE]),
        // 99 KB of shared memory have no room for stages of 64 columns.
        (4096, 4096, &RTX4090, [SMALL, SMALL, SMALL, HALF, SQUARE, FLAT, FLAT, FLAT, FLAT]),
    ] {
        let few = [M8, M8, M8, M16, M16];
        assert_eq!(tiles(n, k, limits), *[&few[..], &expected[..]].concat(), "{n} x {k} on {limits:?}");
    }
}

#[test]
fn a_plan_covers_the_output_and_fits_the_device() {
    for limits in [H200, A100, RTX4090] {
        for [m, n, k] in models() {
            let plan = planned(m, n, k, &limits);
            let Launch { grid, block, dynamic_shared_bytes, .. } = plan.launch;
            let [tile_m, tile_n, _] = tile(&plan).map(|side| side as usize);
            let tiles = (m.div_ceil(tile_m) * n.div_ceil(tile_n)) as u32;
            // What streams stays where it is, and takes one tile after the other.
            let blocks = if m <= 16 { tiles.min(limits.num_sms) } else { tiles };
            assert_eq!(grid, [blocks, 1, 1], "{plan}");
            assert!(dynamic_shared_bytes as usize <= limits.shared_memory_per_block, "{plan}");
            assert!(block[0] >= 128 && block[0] <= 256 && block[1..] == [1, 1], "{plan}");
            assert_eq!((plan.splits, plan.workspace_bytes), (1, 0));
        }
    }
}

/// On large products hardly a multiprocessor is idle in the last wave.
#[test]
fn waves_are_full() {
    for [m, n, k] in models().filter(|&[m, n, _]| m >= 1024 && n >= 4096) {
        let plan = planned(m, n, k, &H200);
        let [tile_m, tile_n, _] = tile(&plan).map(|side| side as usize);
        // Of the products that the multiprocessors have time for, in whole tiles.
        let busiest = (plan.launch.grid[0] as usize).div_ceil(132);
        let share = (m * n) as f64 / (busiest * 132 * tile_m * tile_n) as f64;
        assert!(share > 0.74, "{m} x {n}: {share:.2} in {plan}");
    }
}

#[test]
fn the_name_of_a_kernel_says_its_tile() {
    for dtype in [DType::BF16, DType::F16] {
        for kernel in TILES {
            let Tile { m, n, k, .. } = kernel.tile;
            let shape = MatmulShape { operands: operands(kernel.storage), ..shape(1, 8, 128) };
            let plan = kernel.plan(dtype, &shape, None, "").unwrap();
            assert_eq!(plan.launch.kernel.name(), format!("{}_{dtype}_{m}x{n}x{k}", plan.op));
            let [warp_m, warp_n] = kernel.warp;
            assert_eq!(m / warp_m * (n / warp_n) * kernel.sharing * 32, kernel.threads, "{plan}");
        }
        for kernel in STREAMS {
            let shape = MatmulShape { operands: operands(kernel.storage), ..shape(1, 8, 128) };
            let plan = kernel.plan(dtype, &shape, None, &H200).unwrap();
            assert_eq!(plan.launch.kernel.name(), format!("{}_stream_{dtype}_m{}", plan.op, kernel.tile.m));
        }
    }
}

#[test]
fn batch_invariant_plans_differ_in_their_grid_alone() {
    for limits in [H200, A100, RTX4090] {
        for [m, n, k] in models() {
            let plan = |m| matmul(DType::F16, &shape(m, n, k), true, 0, &limits).unwrap().unwrap();
            let (one, many) = (plan(1), plan(m));
            assert_eq!(Plan { launch: Launch { grid: one.launch.grid, ..many.launch }, ..many }, one);
            assert_eq!(tile(&many), [64, 128, 64]);
            assert!(many.reason.starts_with("batch-invariant: "), "{many}");
        }
    }
}

#[test]
fn a_plan_says_why() {
    let plan = planned(2048, 4096, 4096, &H200);
    assert_eq!(
        plan.to_string(),
        "matmul: matmul_bf16_128x256x64 grid 256x1x1 of 256 threads, tile 128x256x64, 3 stages, 147456 bytes of shared memory \
         (the largest tile keeps the multiprocessors busy: fewest bytes a product)"
    );
    let plan = planned(1, 4096, 4096, &H200);
    assert_eq!(
        plan.to_string(),
        "matmul: matmul_stream_bf16_m8 grid 128x1x1 of 256 threads, tile 8x32x64, 4 stages, 163840 bytes of shared memory \
         (reading the weights is all: they stream through shared memory)"
    );
}

/// With a workspace all multiprocessors read as much, where whole tiles would keep some waiting for longer than blocks that
/// share a tile wait for each other: 13 units.
#[test]
fn streams_end_together() {
    let mut split = 0;
    for limits in [H200, A100, RTX4090] {
        let workspace = matmul_workspace_bytes(&limits);
        for [m, n, k] in models().filter(|&[m, ..]| m <= 16) {
            for storage in [Storage::Native, Storage::Int4, Storage::Fp8] {
                let shape = MatmulShape { operands: operands(storage), ..shape(m, n, k) };
                let plan = matmul(DType::BF16, &shape, false, workspace, &limits).unwrap().unwrap();
                assert!(plan.launch.kernel.name().contains("_stream_"), "{plan}");
                assert!(plan.workspace_bytes <= workspace, "{plan}");
                assert!(plan.launch.dynamic_shared_bytes as usize + 128 <= limits.shared_memory_per_block);
                let [_, tile_n, tile_k] = tile(&plan).map(|side| side as usize);
                let (tiles, units) = (n.div_ceil(tile_n), k.div_ceil(tile_k));
                let blocks = plan.launch.grid[0] as usize;
                let most = if plan.splits > 1 {
                    split += 1;
                    (tiles * units).div_ceil(blocks)
                } else {
                    assert_eq!(plan.workspace_bytes, 0, "{plan}");
                    tiles.div_ceil(blocks) * units
                };
                let even = (tiles * units).div_ceil(limits.num_sms as usize);
                assert!(most <= even + 13, "{plan}: {most} units instead of {even}");
            }
        }
    }
    assert!(split > 300, "{split}");
}

#[test]
fn no_tokens_need_no_launch() {
    for batch_invariant in [false, true] {
        assert_eq!(matmul(DType::BF16, &shape(0, 4096, 4096), batch_invariant, 0, &H200).unwrap(), None);
    }
}

#[test]
fn wrong_shapes_are_named() {
    let message = |dtype, shape: MatmulShape| matmul(dtype, &shape, false, 0, &H200).unwrap_err().to_string();
    let bf16 = |shape| message(DType::BF16, shape);
    assert_eq!(bf16(shape(1, 8, 20)), "matmul: k: expected a multiple of 8, got 20");
    assert_eq!(bf16(shape(1, 8, 0)), "matmul: k: expected a multiple of 8, got 0");
    assert_eq!(bf16(shape(0, 0, 16)), "matmul: n: expected at least 1, got 0");
    assert_eq!(bf16(shape(1 << 31, 8, 16)), "matmul: m: expected fewer than 2^31, got 2147483648");
    assert_eq!(bf16(shape(1, 1 << 31, 16)), "matmul: n: expected fewer than 2^31, got 2147483648");
    assert_eq!(bf16(shape(1, 8, 1 << 31)), "matmul: k: expected fewer than 2^31, got 2147483648");
    assert_eq!(
        bf16(shape((1 << 31) - 1, (1 << 31) - 1, 16)),
        "matmul: out: expected fewer than 2^31 tiles, got 140737488355328"
    );
    let gate_up = MatmulShape { epilogue: Epilogue::SwiGlu, ..shape(1, 24, 16) };
    assert_eq!(bf16(gate_up), "matmul: n: expected a multiple of 16 with SwiGLU, got 24");
    assert_eq!(message(DType::F32, shape(1, 8, 16)), "matmul: x: expected bf16 or f16, got f32");
    let small = Limits { num_sms: 10, shared_memory_per_block: 48 << 10 };
    for batch_invariant in [false, true] {
        let error = matmul(DType::BF16, &shape(17, 8, 16), batch_invariant, 0, &small).unwrap_err();
        let text =
            "matmul is not supported: a block needs 98304 bytes of shared memory, the device has 49152";
        assert_eq!(error.to_string(), text);
    }
}

/// With a workspace, tiles are shared where whole ones would leave multiprocessors idle, and nowhere else.
#[test]
fn tiles_are_shared_where_that_is_quicker() {
    let room = matmul_workspace_bytes(&H200);
    let shared = |m, n, k, bytes| matmul(DType::BF16, &shape(m, n, k), false, bytes, &H200).unwrap().unwrap();
    for (m, n, k) in [(17, 4096, 4096), (64, 4096, 14336), (256, 4096, 4096)] {
        let plan = shared(m, n, k, room);
        assert!(plan.splits > 1 && plan.workspace_bytes <= room, "{plan}");
        assert!(plan.launch.grid[0] % 132 == 0 && plan.launch.grid[0] <= 264, "{plan}");
        assert!(plan.to_string().contains(&format!("up to {} splits", plan.splits)), "{plan}");
        // One byte too few, and none.
        for bytes in [plan.workspace_bytes - 1, 0] {
            assert!(shared(m, n, k, bytes).workspace_bytes <= bytes);
        }
        let invariant = matmul(DType::BF16, &shape(m, n, k), true, room, &H200).unwrap().unwrap();
        assert_eq!((invariant.splits, invariant.workspace_bytes), (1, 0));
    }
    for (m, n, k) in [(8192, 28672, 4096), (4096, 4096, 4096)] {
        let plan = shared(m, n, k, room);
        assert_eq!((plan.splits, plan.workspace_bytes), (1, 0), "{plan}");
    }
}
