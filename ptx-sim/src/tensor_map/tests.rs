//! Tensor maps against the rules of the driver, and tiles against a naive walk over their elements.

use super::{TensorFill, TensorInterleave, TensorL2Promotion, TensorMap, TensorSwizzle, TensorType, Tile};
use crate::exec::Random;

const SWIZZLES: [TensorSwizzle; 4] =
    [TensorSwizzle::None, TensorSwizzle::Bytes32, TensorSwizzle::Bytes64, TensorSwizzle::Bytes128];

/// A valid map of any rank.
fn random_map(random: &mut Random) -> TensorMap {
    let rank = 1 + random.below(5);
    let data_type = TensorType::ALL[random.below(TensorType::ALL.len())];
    let element = data_type.bytes();
    let swizzle = SWIZZLES[random.below(4)];
    let widest = swizzle.span().unwrap_or(256).min(256 * element) / 16;
    let inner = (1 + random.below(widest as usize) as u32) * 16 / element;
    let mut map = TensorMap::new(
        data_type,
        0x10_0000_0000 + 16 * random.below(64) as u64,
        &(0..rank).map(|_| 1 + random.below(40) as u64).collect::<Vec<_>>(),
        &vec![16; rank - 1],
        &(0..rank).map(|_| 1 + random.below(6) as u32).collect::<Vec<_>>(),
    );
    map.box_dims[0] = inner;
    for dimension in 1..rank {
        let below = if dimension == 1 { u64::from(element) } else { map.strides[dimension - 2] };
        let rows = map.dims[dimension - 1] * below;
        map.strides[dimension - 1] = rows.next_multiple_of(16) + 16 * random.below(3) as u64;
        map.element_strides[dimension] = 1 + random.below(3) as u32;
    }
    map.swizzle = swizzle;
    if data_type.is_float() && random.below(2) == 0 {
        map.fill = TensorFill::Nan;
    }
    map
}

/// What a byte of global memory holds.
fn global(address: u64) -> u8 {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// The bytes of shared memory that a load writes, one element after another: offset from `address`, and value.
fn naive_load(map: &TensorMap, coordinates: &[i32; 5], address: u64) -> Vec<(u64, u8)> {
    let rank = map.dims.len();
    let element = u64::from(map.data_type.bytes());
    let counts: Vec<u64> = (0..rank)
        .map(|d| {
            let step = if d == 0 { 1 } else { u64::from(map.element_strides[d]) };
            u64::from(map.box_dims[d]).div_ceil(step)
        })
        .collect();
    let inner = counts[0] * element;
    let pitch = match map.swizzle {
        TensorSwizzle::None => inner,
        TensorSwizzle::Bytes32 => 32,
        TensorSwizzle::Bytes64 => 64,
        TensorSwizzle::Bytes128 => 128,
    };
    let mut written = Vec::new();
    for number in 0..counts.iter().product::<u64>() {
        let mut left = number;
        let (mut inside, mut place) = (true, i128::from(map.address));
        for d in 0..rank {
            let index = left % counts[d];
            left /= counts[d];
            let step = if d == 0 { 1 } else { i128::from(map.element_strides[d]) };
            let coordinate = i128::from(coordinates[d]) + i128::from(index) * step;
            inside &= coordinate >= 0 && coordinate < i128::from(map.dims[d]);
            place += coordinate * i128::from(if d == 0 { element } else { map.strides[d - 1] });
        }
        for byte in 0..element {
            let (row, column) = (number / counts[0], number % counts[0] * element + byte);
            let linear = address + row * pitch + column;
            // The swizzles as the specification states them.
            let bits = |low: u32, count: u32| (linear >> low) & ((1 << count) - 1);
            let swizzled = match map.swizzle {
                TensorSwizzle::None => linear,
                TensorSwizzle::Bytes32 => linear ^ bits(7, 1) << 4,
                TensorSwizzle::Bytes64 => linear ^ bits(7, 2) << 4,
                TensorSwizzle::Bytes128 => linear ^ bits(7, 3) << 4,
            };
            let value = match (inside, map.fill) {
                (true, _) => global(place as u64 + byte),
                (false, TensorFill::Zeros) => 0,
                (false, TensorFill::Nan) if byte + 1 == element => 0x7f,
                (false, TensorFill::Nan) => 0xff,
            };
            written.push((swizzled - address, value));
        }
    }
    written.sort_unstable();
    written
}

fn load(map: &TensorMap, coordinates: &[i32; 5], address: u64) -> Vec<(u64, u8)> {
    let tile = Tile::new(map, coordinates);
    let mut bytes = tile.filled();
    for row in tile.rows() {
        for (index, at) in row.bytes.clone().enumerate() {
            bytes[at] = global(row.address + index as u64);
        }
    }
    tile.swizzle(address, &mut bytes);
    let mut written = Vec::new();
    for (place, range) in tile.places(address) {
        written.extend(range.clone().map(|at| (place + (at - range.start) as u64 - address, bytes[at])));
    }
    written.sort_unstable();
    assert!(written.iter().all(|(offset, _)| *offset < tile.shared_bytes() as u64));
    written
}

#[test]
fn tiles_equal_a_walk_over_their_elements() {
    let mut random = Random::new(1);
    for _ in 0..400 {
        let map = random_map(&mut random);
        map.check().unwrap();
        let mut coordinates = [0; 5];
        for (coordinate, dim) in coordinates.iter_mut().zip(&map.dims) {
            // From well before the tensor to well past it.
            *coordinate = random.below(*dim as usize + 40) as i32 - 20;
        }
        let address = 1024 + 128 * random.below(20) as u64;
        let expected = naive_load(&map, &coordinates, address);
        assert_eq!(load(&map, &coordinates, address), expected, "{map:?} at {coordinates:?} to {address}");
        assert_eq!(map.tile_bytes(), expected.len() as u64);
    }
}

#[test]
fn to_swizzle_twice_changes_nothing() {
    let mut random = Random::new(2);
    for _ in 0..100 {
        let map = random_map(&mut random);
        let tile = Tile::new(&map, &[0; 5]);
        let bytes: Vec<u8> = (0..tile.bytes()).map(|_| random.next() as u8).collect();
        let mut twice = bytes.clone();
        (0..2).for_each(|_| tile.swizzle(1152, &mut twice));
        assert_eq!(bytes, twice);
    }
}

#[test]
fn extreme_coordinates_and_sizes_do_not_overflow() {
    let huge = 1 << 32;
    let stride = (1 << 40) - 16;
    let mut map = TensorMap::new(TensorType::F64, !15, &[huge; 5], &[stride; 4], &[2, 1, 1, 1, 2]);
    map.element_strides = vec![8; 5];
    map.check().unwrap();
    for coordinate in [i32::MIN, -1, 0, i32::MAX] {
        for row in Tile::new(&map, &[coordinate; 5]).rows() {
            assert!(row.address >= 1 << 63);
        }
    }
    // A tile far larger than shared memory: its size is known without a walk over it.
    map.box_dims = vec![256; 5];
    map.element_strides = vec![1; 5];
    assert_eq!(map.tile_bytes(), 8 << 40);
}

#[test]
fn encoded_maps_come_back() {
    let mut random = Random::new(3);
    for _ in 0..200 {
        let mut map = random_map(&mut random);
        map.l2_promotion = [
            TensorL2Promotion::None,
            TensorL2Promotion::Bytes64,
            TensorL2Promotion::Bytes128,
            TensorL2Promotion::Bytes256,
        ][random.below(4)];
        let bytes = map.encode().unwrap();
        assert_eq!(TensorMap::decode(&bytes).unwrap(), map);
        let mut damaged = bytes;
        damaged[random.below(128)] ^= 1 << random.below(8);
        TensorMap::decode(&damaged).unwrap_err();
    }
    let error = TensorMap::decode(&[0; 128]).unwrap_err();
    assert_eq!(error.to_string(), "tensor map: bytes is something else, expected an encoded tensor map");
}

#[test]
fn what_a_driver_refuses_is_refused_by_name() {
    let valid = || TensorMap::new(TensorType::Bf16, 256, &[100, 50, 7], &[208, 10400], &[64, 8, 2]);
    valid().check().unwrap();
    type Change = fn(&mut TensorMap);
    let cases: &[(Change, &str)] = &[
        (|map| map.dims.clear(), "dims is 0 dimensions, expected 1 to 5"),
        (|map| map.dims = vec![1; 6], "dims is 6 dimensions, expected 1 to 5"),
        (|map| map.strides.push(16), "strides is a list of 3, expected 2, for 3 dimensions"),
        (|map| map.box_dims.truncate(2), "box_dims is a list of 2, expected 3, for 3 dimensions"),
        (|map| map.element_strides.clear(), "element_strides is a list of 0, expected 3, for 3 dimensions"),
        (
            |map| map.interleave = TensorInterleave::Bytes16,
            "interleave is Bytes16, expected None: the others are not supported",
        ),
        (|map| map.address = 264, "address is 0x108, expected a multiple of 16"),
        (|map| map.dims[1] = 0, "dims[1] is 0, expected 1 to 2^32"),
        (|map| map.dims[2] = (1 << 32) + 1, "dims[2] is 4294967297, expected 1 to 2^32"),
        (|map| map.strides[0] = 200, "strides[0] is 200, expected a multiple of 16 bytes below 2^40"),
        (
            |map| map.strides[1] = 1 << 40,
            "strides[1] is 1099511627776, expected a multiple of 16 bytes below 2^40",
        ),
        (|map| map.box_dims[1] = 257, "box_dims[1] is 257, expected 1 to 256"),
        (|map| map.box_dims[2] = 0, "box_dims[2] is 0, expected 1 to 256"),
        (|map| map.box_dims[0] = 4, "box_dims[0] is 8 bytes, expected a multiple of 16 bytes"),
        (
            |map| map.swizzle = TensorSwizzle::Bytes64,
            "box_dims[0] is 128 bytes, expected at most the 64 bytes of the swizzle",
        ),
        (|map| map.element_strides[1] = 9, "element_strides[1] is 9, expected 1 to 8"),
        (|map| map.element_strides[0] = 0, "element_strides[0] is 0, expected 1 to 8"),
        (
            |map| (map.data_type, map.fill) = (TensorType::U16, TensorFill::Nan),
            "fill is Nan of u16, expected Zeros where elements are integers",
        ),
    ];
    for (change, expected) in cases {
        let mut map = valid();
        change(&mut map);
        assert_eq!(map.check().unwrap_err().to_string(), format!("tensor map: {expected}"));
        map.encode().unwrap_err();
        assert_eq!(map.tile_bytes(), 0);
    }
}
