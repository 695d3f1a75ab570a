//! Tiles of tensors.

use ptx_sim::{TensorFill, TensorMap, TensorSwizzle, TensorType};

use super::{Kernel, WAIT, dump, fill};

/// Loads a tile at coordinates, and dumps what `bytes` bytes of shared memory hold.
fn load(dimensions: usize, coordinates: &str, arriving: u64, bytes: usize) -> String {
    // Every byte is written before, so that the gaps of a tile may be dumped.
    let clear: String = (0..bytes).step_by(256).map(|at| format!("st.shared.u32 [%r0+{at}], 0;\n")).collect();
    format!(
        "shl.b32 %r0, %t, 2;\nadd.u32 %r0, %r0, %tile;\n{clear}fence.proxy.async;\nbar.sync 0;\n@!%first bra WAIT;\n\
         mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], {arriving};\nprefetch.tensormap [%map];\n\
         cp.async.bulk.prefetch.tensor.{dimensions}d.L2.global.tile [%map, {{{coordinates}}}];\n\
         cp.async.bulk.tensor.{dimensions}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%tile], \
         [%map, {{{coordinates}}}], [bar];\n{WAIT}{}",
        dump(bytes)
    )
}

/// A row-major matrix of `rows` x `columns` u16 with `stride` bytes from row to row, in tiles of `box_rows` x
/// `box_columns`.
fn matrix(address: u64, [rows, columns, stride]: [u64; 3], [box_rows, box_columns]: [u32; 2]) -> TensorMap {
    TensorMap::new(TensorType::F16, address, &[columns, rows], &[stride], &[box_columns, box_rows])
}

#[test]
fn tiles_lie_as_their_swizzle_says() {
    for (swizzle, span, columns) in [
        (TensorSwizzle::None, 0, 32),
        (TensorSwizzle::Bytes32, 32, 16),
        (TensorSwizzle::Bytes64, 64, 32),
        (TensorSwizzle::Bytes128, 128, 64),
    ] {
        let row_bytes = 2 * columns as usize;
        let map = |input: u64, _: u64| {
            let mut map = matrix(input, [16, 128, 256], [16, columns]);
            map.swizzle = swizzle;
            map
        };
        let bytes = 16 * row_bytes;
        let body = load(2, "32, 0", bytes as u64, bytes);
        let kernel = Kernel { body: &body, map: Some(&map), ..Kernel::default() };
        let mut expected = kernel.output.clone();
        for byte in 0..bytes {
            let (row, column) = (byte / row_bytes, byte % row_bytes);
            // The tile is aligned to 1024, so that lines are numbered from its start.
            let line = byte / 128;
            let flip = if span == 0 { 0 } else { (line % (span / 16)) * 16 };
            expected[byte ^ flip] = kernel.input[256 * row + 64 + column];
        }
        assert_eq!(kernel.output(), expected, "{swizzle:?}");
    }
}

#[test]
fn elements_outside_the_tensor_are_filled_and_counted() {
    for fill in [TensorFill::Zeros, TensorFill::Nan] {
        // 5 x 20 elements of a buffer; tiles of 8 x 16 that begin outside it.
        let map = |input: u64, _: u64| {
            let mut map = matrix(input, [5, 20, 48], [8, 16]);
            map.fill = fill;
            map
        };
        for (x, y) in [(-3, -2), (11, 1), (4, 4), (19, -7), (-40, 0), (0, 5)] {
            let body = load(2, &format!("{x}, {y}"), 256, 256);
            let kernel = Kernel { body: &body, map: Some(&map), ..Kernel::default() };
            let mut expected = kernel.output.clone();
            for (index, place) in expected[..256].chunks_exact_mut(2).enumerate() {
                let (column, row) = (x + index as i64 % 16, y + index as i64 / 16);
                if (0..20).contains(&column) && (0..5).contains(&row) {
                    let at = (48 * row + 2 * column) as usize;
                    place.copy_from_slice(&kernel.input[at..at + 2]);
                } else {
                    place.copy_from_slice(&if fill == TensorFill::Nan { [0xff, 0x7f] } else { [0, 0] });
                }
            }
            assert_eq!(kernel.output(), expected, "{fill:?} at {x}, {y}");
        }
    }
}

#[test]
fn tensors_have_up_to_five_dimensions_and_steps() {
    let map = |input: u64, _: u64| {
        let mut map =
            TensorMap::new(TensorType::U8, input, &[16, 4, 4, 3, 2], &[16, 64, 256, 768], &[16, 3, 4, 2, 2]);
        map.element_strides = vec![1, 2, 3, 1, 1];
        map
    };
    // ceil(3 / 2) x ceil(4 / 3) x 2 x 2 rows.
    let body = load(5, "0, 1, 0, 1, 0", 256, 256);
    let kernel = Kernel { body: &body, map: Some(&map), ..Kernel::default() };
    let mut expected = kernel.output.clone();
    for (number, row) in expected[..256].chunks_exact_mut(16).enumerate() {
        let (a, b, c, d) = (number % 2, number / 2 % 2, number / 4 % 2, number / 8);
        let at = 16 * (1 + 2 * a) + 64 * (3 * b) + 256 * (1 + c) + 768 * d;
        row.copy_from_slice(&kernel.input[at..at + 16]);
    }
    assert_eq!(kernel.output(), expected);
}

#[test]
fn stores_are_clipped_at_the_edges() {
    for (swizzle, columns) in [(TensorSwizzle::None, 24u32), (TensorSwizzle::Bytes64, 32)] {
        let map = |_: u64, output: u64| {
            let mut map = matrix(output + 256, [5, 20, 48], [4, columns]);
            map.swizzle = swizzle;
            map
        };
        let bytes = 4 * 2 * columns as usize;
        let body = format!(
            "{}@!%first bra END;\nmov.s32 %r0, 3;\n\
             cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%map, {{3, %r0}}], [%tile];\n\
             cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nEND:",
            fill(bytes.next_multiple_of(64))
        );
        let kernel = Kernel { body: &body, map: Some(&map), ..Kernel::default() };
        let mut expected = kernel.output.clone();
        for row in 3..5 {
            for column in 3..20 {
                let byte = (row - 3) * 2 * columns as usize + 2 * (column - 3);
                let flip = if swizzle == TensorSwizzle::None { 0 } else { byte / 128 % 4 * 16 };
                let to = 256 + 48 * row + 2 * column;
                expected[to..to + 2].copy_from_slice(&kernel.input[byte ^ flip..(byte ^ flip) + 2]);
            }
        }
        assert_eq!(kernel.output(), expected, "{swizzle:?}");
    }
}

#[test]
fn reductions_have_the_type_of_the_tensor() {
    for (ty, operation, apply) in [
        (TensorType::U32, "add", u32::wrapping_add as fn(u32, u32) -> u32),
        (TensorType::S32, "min", |a, b| (a as i32).min(b as i32) as u32),
        (TensorType::U32, "xor", |a, b| a ^ b),
        (TensorType::S32, "or", |a, b| a | b),
        (TensorType::F32, "add", |a, b| (f32::from_bits(a) + f32::from_bits(b)).to_bits()),
    ] {
        let map = |_: u64, output: u64| TensorMap::new(ty, output, &[10, 4], &[48], &[8, 4]);
        let body = format!(
            "{}@!%first bra END;\n\
             cp.reduce.async.bulk.tensor.2d.global.shared::cta.{operation}.tile.bulk_group [%map, {{4, 0}}], [%tile];\n\
             cp.async.bulk.commit_group;\nEND:",
            fill(128)
        );
        let words = |of: fn(u32) -> f32| -> Vec<u8> { (0..256).map(of).flat_map(f32::to_le_bytes).collect() };
        let (input, output) = (words(|word| word as f32 - 20.0), words(|word| 3.0 * word as f32));
        let kernel = Kernel { body: &body, map: Some(&map), input, output, ..Kernel::default() };
        let mut expected = kernel.output.clone();
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        for (row, column) in (0..4).flat_map(|row| (4..10).map(move |column| (row, column))) {
            let from = 4 * (8 * row + column - 4);
            let place = &mut expected[48 * row + 4 * column..48 * row + 4 * column + 4];
            let new = apply(word(place), word(&kernel.input[from..from + 4]));
            place.copy_from_slice(&new.to_le_bytes());
        }
        assert_eq!(kernel.output(), expected, "{ty:?} {operation}");
    }
}

/// A row that starts in the middle of a word of a neighbour's does not race with it.
#[test]
fn neighbouring_columns_do_not_race() {
    let map = |_: u64, output: u64| matrix(output, [4, 31, 64], [4, 8]);
    let body = format!(
        "{}and.b32 %r0, %t, 31;\nsetp.eq.u32 %p0, %r0, 0;\n@!%p0 bra END;\nshr.u32 %r1, %t, 5;\n\
         mad.lo.u32 %r2, %r1, 8, 7;\ncp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%map, {{%r2, 0}}], [%tile];\n\
         cp.async.bulk.commit_group;\nEND:",
        fill(64)
    );
    let kernel = Kernel { body: &body, map: Some(&map), ..Kernel::default() };
    let mut expected = kernel.output.clone();
    for (row, column) in (0..4).flat_map(|row| (7..23).map(move |column| (row, column))) {
        let from = 16 * row + 2 * ((column - 7) % 8);
        let to = 64 * row + 2 * column;
        expected[to..to + 2].copy_from_slice(&kernel.input[from..from + 2]);
    }
    assert_eq!(kernel.output(), expected);
}

#[test]
fn a_map_may_lie_in_global_memory() {
    // The kernel copies its parameter there first; a real one needs the fence of the map's own proxy.
    let copy: String = (0..128)
        .step_by(8)
        .map(|at| {
            format!("ld.param.u64 %rd0, [map+{at}];\n@%first st.global.u64 [%out+{}], %rd0;\n", at + 2048)
        })
        .collect();
    let body = format!(
        "add.s64 %rd9, %out, 2048;\n{copy}fence.proxy.tensormap::generic.acquire.gpu [%rd9], 128;\nbar.sync 0;\n\
         @!%first bra WAIT;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 256;\n\
         cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%tile], [%rd9, {{64}}], [bar];\n\
         {WAIT}{}",
        dump(256)
    );
    let map = |input: u64, _: u64| TensorMap::new(TensorType::F32, input, &[1000], &[], &[64]);
    let kernel = Kernel { body: &body, map: Some(&map), ..Kernel::default() };
    assert_eq!(kernel.output()[..256], kernel.input[256..512]);
}
