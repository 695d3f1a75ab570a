//! What has been allocated where in global memory.

use std::collections::BTreeMap;

use super::runs::PAGE;

/// The first address.
const FIRST: u64 = 0x10_0000_0000;
/// The end of addresses: 47 bits, as on the real devices.
const END: u64 = 1 << 47;
/// Bytes between allocations at least, so that overruns are found.
const GAP: u64 = PAGE;
/// What allocations are aligned to, as those of a driver.
const ALIGN: u64 = 256;

/// A piece of global memory.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    pub start: u64,
    pub size: u64,
    /// The variable's, where it is one.
    pub name: Option<String>,
    pub read_only: bool,
    pub freed: bool,
}

impl Allocation {
    pub fn end(&self) -> u64 {
        self.start + self.size
    }

    /// Such as `the allocation of 1024 bytes at 0x1000000100`.
    pub fn describe(&self) -> String {
        let what = match &self.name {
            Some(name) => format!("variable `{name}`"),
            None if self.freed => "the freed allocation".to_string(),
            None => "the allocation".to_string(),
        };
        format!("{what} of {} bytes at {:#x}", self.size, self.start)
    }
}

/// All allocations, those that have been freed among them: addresses are never used again.
#[derive(Debug)]
pub(super) struct Allocations {
    by_start: BTreeMap<u64, Allocation>,
    next: u64,
}

impl Default for Allocations {
    fn default() -> Self {
        Self { by_start: BTreeMap::new(), next: FIRST }
    }
}

impl Allocations {
    /// Finds a place for so many bytes.
    pub fn add(
        &mut self,
        size: u64,
        align: u64,
        name: Option<String>,
        read_only: bool,
    ) -> Result<u64, String> {
        if size == 0 {
            return Err("0 bytes".to_string());
        }
        let align = align.max(ALIGN);
        if !align.is_power_of_two() {
            return Err(format!("an alignment of {align} bytes"));
        }
        // An odd multiple of the alignment: nothing is aligned better than was asked for.
        let place = |next: u64| {
            let start = next.checked_next_multiple_of(align)?;
            let start = if (start / align).is_multiple_of(2) { start.checked_add(align)? } else { start };
            let end = start.checked_add(size)?;
            (end <= END).then_some((start, end))
        };
        let (start, end) = place(self.next).ok_or_else(|| format!("{size} bytes are more than is left"))?;
        self.next = end + GAP;
        self.by_start.insert(start, Allocation { start, size, name, read_only, freed: false });
        Ok(start)
    }

    /// Marks the allocation that starts at an address as freed, and returns it.
    pub fn free(&mut self, address: u64) -> Result<Allocation, String> {
        match self.by_start.get_mut(&address) {
            Some(allocation) if allocation.freed => Err(format!("{address:#x} has been freed before")),
            Some(allocation) if allocation.name.is_some() => {
                Err(format!("{address:#x} is a module's variable"))
            }
            Some(allocation) => {
                allocation.freed = true;
                Ok(allocation.clone())
            }
            None => Err(format!("{address:#x} is not the start of an allocation")),
        }
    }

    /// The allocation, freed or not, that a byte lies in.
    pub fn at(&self, address: u64) -> Option<&Allocation> {
        self.before(address).filter(|allocation| address < allocation.end())
    }

    /// The allocation that reaches into a page.
    pub fn in_page(&self, page: u64) -> Option<&Allocation> {
        let start = page * PAGE;
        self.before(start + (PAGE - 1)).filter(|allocation| start < allocation.end())
    }

    /// The bytes from `address` on lie in one allocation that has not been freed.
    pub fn check(&self, address: u64, size: u64) -> Result<&Allocation, String> {
        match self.at(address) {
            Some(allocation) if allocation.freed => {
                Err(format!("{address:#x} lies in {}", allocation.describe()))
            }
            Some(allocation) if allocation.end() - address >= size => Ok(allocation),
            _ => Err(self.explain(address, size)),
        }
    }

    fn before(&self, address: u64) -> Option<&Allocation> {
        self.by_start.range(..=address).next_back().map(|(_, allocation)| allocation)
    }

    /// How an access that lies in no allocation, or not wholly, misses the nearest.
    pub fn explain(&self, address: u64, size: u64) -> String {
        /// An access farther away than this did not miss that allocation.
        const FAR: u64 = 1 << 30;
        let before = self.before(address).map(|allocation| {
            let past = address.saturating_add(size) - allocation.end();
            (past, format!("{past} bytes past the end of {}", allocation.describe()))
        });
        let after = self.by_start.range(address.saturating_add(1)..).next().map(|(_, allocation)| {
            let short = allocation.start - address;
            (short, format!("{short} bytes before {}", allocation.describe()))
        });
        match before.into_iter().chain(after).min_by_key(|(distance, _)| *distance) {
            Some((distance, text)) if distance <= FAR => text,
            Some(_) => "far from every allocation".to_string(),
            None => "but nothing is allocated".to_string(),
        }
    }

    /// Module variables are released with their module.
    pub fn free_variable(&mut self, address: u64) -> Option<Allocation> {
        let allocation = self.by_start.get_mut(&address)?;
        allocation.freed = true;
        Some(allocation.clone())
    }
}
