//! The even split of all tiles' units over the blocks of a launch, as `cuda/common/split_work.cuh` makes it.

/// What the counters and each block's partial sums start at multiples of.
const ALIGN: u64 = 256;

/// Tiles of `units` stages each, over `blocks` blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    tiles: u64,
    units: u64,
    blocks: u64,
}

impl Split {
    /// `blocks` of at least one unit each; `None` where there are fewer units than blocks.
    pub fn new(tiles: u64, units: u64, blocks: u64) -> Option<Self> {
        let all = tiles.checked_mul(units)?;
        // The kernel multiplies a unit's number by that of blocks in an i64.
        let fits = i64::try_from(u128::from(all + 1) * u128::from(blocks)).is_ok();
        (blocks >= 1 && blocks <= all && fits).then_some(Split { tiles, units, blocks })
    }

    /// Blocks of the launch.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Units of the block that has the most.
    pub fn most_units(&self) -> u64 {
        (self.tiles * self.units).div_ceil(self.blocks)
    }

    fn block_of(&self, unit: u64) -> u64 {
        ((unit + 1) * self.blocks - 1) / (self.tiles * self.units)
    }

    /// How many blocks each tile has.
    fn shares(&self) -> impl Iterator<Item = u64> {
        let Split { tiles, units, .. } = *self;
        (0..tiles).map(move |tile| self.block_of((tile + 1) * units - 1) - self.block_of(tile * units) + 1)
    }

    /// Blocks of the tile that has the most.
    pub fn most_shares(&self) -> u64 {
        self.shares().max().unwrap_or(1)
    }

    /// How many partial sums are written: those of the tiles that several blocks share.
    pub fn partials(&self) -> u64 {
        self.shares().filter(|&blocks| blocks > 1).sum()
    }

    /// Bytes of the workspace, where the partial sums of a tile have so many.
    pub fn workspace(blocks: u64, partial_bytes: u64) -> usize {
        let counters = (blocks * size_of::<u32>() as u64).next_multiple_of(ALIGN);
        (counters + 2 * blocks * partial_bytes) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted unit by unit.
    #[test]
    fn shares_are_those_of_the_units() {
        for (tiles, units) in [(1, 1), (1, 64), (3, 7), (16, 64), (40, 5), (132, 3), (5, 1)] {
            for blocks in 1..=(tiles * units) {
                let split = Split::new(tiles, units, blocks).unwrap();
                let first = |block: u64| tiles * units * block / blocks;
                let mut shares = vec![0; tiles as usize];
                let mut most = 0;
                for block in 0..blocks {
                    let range = first(block)..first(block + 1);
                    most = most.max(range.end - range.start);
                    for tile in 0..tiles {
                        let inside = |unit: &u64| unit / units == tile;
                        shares[tile as usize] += u64::from(range.clone().any(|unit| inside(&unit)));
                    }
                    assert!(range.clone().all(|unit| split.block_of(unit) == block));
                }
                assert_eq!(split.shares().collect::<Vec<_>>(), shares, "{split:?}");
                assert_eq!(split.most_shares(), shares.iter().copied().max().unwrap());
                let partials: u64 = shares.iter().filter(|&&blocks| blocks > 1).sum();
                assert_eq!((split.most_units(), split.partials()), (most, partials), "{split:?}");
            }
            assert_eq!(Split::new(tiles, units, tiles * units + 1), None);
            assert_eq!(Split::new(tiles, units, 0), None);
        }
        assert_eq!(Split::new(1 << 31, 1 << 31, 132), None);
        assert_eq!(Split::workspace(264, 1 << 14), 1280 + 2 * 264 * (1 << 14));
    }
}
