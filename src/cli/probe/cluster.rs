//! Clusters: who is who, and shared memory of other blocks.

use super::source::{HOPPER, load_words, probe, store_words};
use super::{Inputs, Probe};

/// Blocks of a cluster and of the grid, and threads of each.
const CLUSTER: u32 = 4;
const BLOCKS: u32 = 8;
const THREADS: u32 = 32;

pub fn probes() -> Vec<Probe> {
    // Each thread puts a word where the same thread of each other block reads it, which also adds to a counter there.
    let mut exchange = load_words(0, 0, 1);
    exchange += "\
.shared .align 4 .b32 words[32];
.shared .align 4 .b32 sum;
mov.b32 %t7, words;
mad.lo.u32 %t6, %thread, 4, %t7;
st.shared.b32 [%t6], %w0;
mov.b32 %t5, sum;
mov.b32 %t4, 0;
st.shared.b32 [%t5], %t4;
barrier.cluster.arrive.aligned;
barrier.cluster.wait.aligned;
mov.u32 %w1, %cluster_ctarank;
mov.u32 %w2, %cluster_nctarank;
mov.u32 %w3, %clusterid.x;
mov.u32 %w4, %cluster_ctaid.x;
";
    for (word, distance) in (5..).zip(1..CLUSTER) {
        exchange += &format!(
            "add.u32 %t3, %w1, {distance};\nand.b32 %t3, %t3, {};\nmapa.shared::cluster.u32 %t2, %t6, %t3;\n\
             ld.shared::cluster.b32 %w{word}, [%t2];\ngetctarank.shared::cluster.u32 %w{}, %t2;\n\
             mapa.shared::cluster.u32 %t2, %t5, %t3;\nred.relaxed.cluster.shared::cluster.add.u32 [%t2], {distance};\n",
            CLUSTER - 1,
            word + CLUSTER as usize - 1
        );
    }
    exchange +=
        "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\nld.shared.b32 %w11, [%t5];\n";
    let registers: Vec<_> = (1..12).map(|i| format!("%w{i}")).collect();
    exchange += &store_words(&registers, 0);
    let inputs = Inputs::Kinds { kinds: "raw".into(), seed: 1 };
    let name = "shared memory of a cluster of 4".to_string();
    let plain = probe(name, HOPPER, inputs, 11, BLOCKS * THREADS, THREADS, &exchange);
    let cluster = format!(")\n.reqnctapercluster {CLUSTER}, 1, 1\n{{");
    vec![Probe { ptx: plain.ptx.replacen(")\n{", &cluster, 1), ..plain }]
}
