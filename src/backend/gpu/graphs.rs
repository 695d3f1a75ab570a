//! Recorded steps, by their bounds.

use crate::backend::StepBounds;
use crate::gpu::Graph;

/// So many are kept: batch sizes come and go, and each recording holds some memory of the driver.
const MOST: usize = 64;

/// The recordings that were used last.
#[derive(Debug)]
pub(super) struct Graphs<G = Graph> {
    /// The one that was used last stands last.
    graphs: Vec<(StepBounds, G)>,
    /// [`Device::freed`](crate::gpu::Device::freed) when they were recorded.
    freed: u64,
}

impl<G> Default for Graphs<G> {
    fn default() -> Self {
        Graphs { graphs: Vec::new(), freed: 0 }
    }
}

impl<G> Graphs<G> {
    /// Takes out the recording of a step. Where memory has been freed since, recordings may use it: then all are dropped.
    pub fn take(&mut self, bounds: &StepBounds, freed: u64) -> Option<G> {
        if freed != self.freed {
            self.graphs.clear();
            self.freed = freed;
        }
        let place = self.graphs.iter().position(|(recorded, _)| recorded == bounds)?;
        Some(self.graphs.remove(place).1)
    }

    /// Puts a recording back, or in; the one that was not used for longest may have to go.
    pub fn put(&mut self, bounds: StepBounds, graph: G) {
        if self.graphs.len() == MOST {
            self.graphs.remove(0);
        }
        self.graphs.push((bounds, graph));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.graphs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(batch: usize) -> StepBounds {
        StepBounds { batch, ..StepBounds::default() }
    }

    #[test]
    fn the_longest_unused_goes() {
        let mut graphs = Graphs::default();
        for batch in 0..MOST {
            assert_eq!(graphs.take(&bounds(batch), 0), None);
            graphs.put(bounds(batch), batch);
        }
        let first = graphs.take(&bounds(0), 0).unwrap();
        graphs.put(bounds(0), first);
        graphs.put(bounds(MOST), MOST);
        assert_eq!(graphs.len(), MOST);
        assert_eq!(graphs.take(&bounds(1), 0), None);
        for kept in [0, 2, MOST] {
            assert_eq!(graphs.take(&bounds(kept), 0), Some(kept));
        }
    }

    #[test]
    fn what_may_use_freed_memory_is_dropped() {
        let mut graphs = Graphs::default();
        graphs.put(bounds(1), "old");
        assert_eq!(graphs.take(&bounds(1), 7), None);
        graphs.put(bounds(1), "new");
        assert_eq!(graphs.take(&bounds(1), 7), Some("new"));
        assert_eq!(graphs.len(), 0);
    }
}
