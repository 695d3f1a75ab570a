//! The live blocks of a host thread. They lie cluster by cluster, so that a block finds the others of its cluster; the
//! scheduler knows them by the order in which they started, but for those that have taken the place of one that ended.

use super::Block;
use super::cluster::ClusterBarrier;
use crate::memory::SharedMemory;
use crate::race::BlockClocks;

/// Where a live block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    cluster: usize,
    rank: usize,
}

impl Place {
    /// Its block's rank in the cluster.
    pub fn rank(self) -> usize {
        self.rank
    }
}

/// The blocks of a cluster by rank; `None` for the one that runs, and for those that have exited.
#[derive(Default)]
pub(super) struct Cluster {
    pub blocks: Vec<Option<Box<Block>>>,
    /// Those that have not exited.
    live: usize,
    pub barrier: ClusterBarrier,
}

/// All live blocks.
#[derive(Default)]
pub(super) struct Live {
    clusters: Vec<Cluster>,
    /// Clusters that have ended, whose places the next can take.
    free: Vec<usize>,
    order: Vec<Place>,
}

impl Live {
    /// Live blocks, the running one among them.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// All but the one that runs.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.order.iter().filter_map(|place| self.clusters[place.cluster].blocks[place.rank].as_deref())
    }

    /// Adds a cluster: `start` makes its block of a rank, which is to lie at a place.
    pub fn add_cluster(&mut self, size: usize, mut start: impl FnMut(usize, Place) -> Block) {
        let cluster = self.free.pop().unwrap_or_else(|| {
            self.clusters.push(Cluster::default());
            self.clusters.len() - 1
        });
        self.clusters[cluster].live = size;
        self.clusters[cluster].barrier = ClusterBarrier::new(size);
        for rank in 0..size {
            let place = Place { cluster, rank };
            self.clusters[cluster].blocks.push(Some(Box::new(start(rank, place))));
            self.order.push(place);
        }
    }

    /// Takes a block out to let it run.
    pub fn take(&mut self, index: usize) -> Option<Box<Block>> {
        let place = self.order[index];
        self.clusters[place.cluster].blocks[place.rank].take()
    }

    /// Puts it back.
    pub fn put(&mut self, block: Box<Block>) {
        let Place { cluster, rank } = block.place;
        self.clusters[cluster].blocks[rank] = Some(block);
    }

    /// The block that has been taken out has exited: the last one takes its place in the order.
    pub fn remove(&mut self, index: usize) {
        let place = self.order.swap_remove(index);
        let cluster = &mut self.clusters[place.cluster];
        cluster.live -= 1;
        if cluster.live == 0 {
            cluster.blocks.clear();
            self.free.push(place.cluster);
        }
    }

    /// The cluster of a block.
    pub fn cluster(&mut self, place: Place) -> &mut Cluster {
        &mut self.clusters[place.cluster]
    }

    /// The barrier of a block's cluster.
    pub fn barrier(&mut self, place: Place) -> &mut ClusterBarrier {
        &mut self.clusters[place.cluster].barrier
    }

    /// What is to be said of the cluster's barrier as to one of its blocks.
    pub fn describe_barrier(&self, block: &Block) -> Option<String> {
        self.clusters[block.place.cluster].barrier.describe(block)
    }

    /// The same as [`Self::peer`], to look at.
    pub fn peer_ref(&self, place: Place, rank: usize) -> Option<&Block> {
        self.clusters[place.cluster].blocks.get(rank)?.as_deref()
    }

    /// Another block of the cluster than that at `place`; `None` where it has exited or the cluster is smaller.
    pub fn peer(&mut self, place: Place, rank: usize) -> Option<&mut Block> {
        self.clusters[place.cluster].blocks.get_mut(rank)?.as_deref_mut()
    }

    /// The same, taken out: [`Self::put`] puts it back.
    pub fn take_peer(&mut self, place: Place, rank: usize) -> Option<Box<Block>> {
        self.clusters[place.cluster].blocks.get_mut(rank)?.take()
    }

    /// A block of the cluster of the one that runs, which may be itself.
    pub fn in_cluster<'b>(&'b mut self, block: &'b mut Block, rank: usize) -> Option<&'b mut Block> {
        if rank == block.place.rank { Some(block) } else { self.peer(block.place, rank) }
    }

    /// The shared memory of a block of the running one's cluster, and the running one's own clocks.
    pub fn shared_of<'b>(
        &'b mut self,
        block: &'b mut Block,
        rank: usize,
    ) -> Option<(&'b mut SharedMemory, &'b mut BlockClocks)> {
        if rank == block.place.rank {
            return Some((&mut block.shared, &mut block.clocks));
        }
        let peer = self.peer(block.place, rank)?;
        Some((&mut peer.shared, &mut block.clocks))
    }
}

impl Block {
    /// Its rank in its cluster.
    pub fn rank(&self) -> usize {
        self.place.rank
    }
}
