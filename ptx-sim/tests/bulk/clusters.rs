//! Copies between blocks of a cluster.

use ptx_sim::ViolationKind::{AsyncCopyRace, BlockGone, InvalidOperand};

use super::{Kernel, WAIT, dump};

/// All threads of the cluster wait for each other.
const CLUSTER: &str = "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n";

/// Each block's part of the output begins 1024 bytes after that of the one before.
const OWN_OUT: &str = "mul.wide.u32 %rd19, %rank, 1024;\nadd.s64 %out, %out, %rd19;\n";

#[test]
fn a_multicast_arrives_in_every_block_of_its_mask() {
    let body = format!(
        "{OWN_OUT}{CLUSTER}@!%first bra WAIT;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 512;\n\
         shl.b32 %r0, %rank, 8;\ncvt.u64.u32 %rd0, %r0;\nadd.s64 %rd0, %rd0, %in;\nadd.u32 %r1, %tile, %r0;\n\
         mov.u16 %h0, 3;\n\
         cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r1], [%rd0], 256, [bar], \
         %h0;\n{WAIT}{}{CLUSTER}",
        dump(512)
    );
    let kernel = Kernel { body: &body, blocks: 2, ..Kernel::default() };
    let output = kernel.output();
    assert_eq!(output[..512], kernel.input[..512]);
    assert_eq!(output[1024..1536], kernel.input[..512]);
}

fn send(rest: &str) -> String {
    format!(
        "{OWN_OUT}shl.b32 %r0, %t, 2;\nadd.u32 %r0, %r0, %tile;\nmad.lo.u32 %r1, %rank, 1000, %t;\n\
         st.shared.u32 [%r0], %r1;\nfence.proxy.async;\n{CLUSTER}@!%first bra WAIT;\n\
         mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 256;\nxor.b32 %r2, %rank, 1;\nadd.u32 %r3, %tile, 1024;\n\
         mapa.shared::cluster.u32 %r3, %r3, %r2;\nmov.u32 %r4, bar;\nmapa.shared::cluster.u32 %r4, %r4, %r2;\n\
         cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r3], [%tile], 256, [%r4];\n{WAIT}\
         add.u32 %r5, %r0, 1024;\nld.shared.u32 %r6, [%r5];\nmul.wide.u32 %rd0, %t, 4;\nadd.s64 %rd0, %rd0, %out;\n\
         st.global.u32 [%rd0], %r6;\n{rest}"
    )
}

#[test]
fn blocks_send_each_other_their_tiles() {
    let body = send(CLUSTER);
    let output = Kernel { body: &body, blocks: 2, ..Kernel::default() }.output();
    for (rank, thread) in (0..2).flat_map(|rank| (0..64).map(move |thread| (rank, thread))) {
        let at = 1024 * rank + 4 * thread;
        let expected = ((1 - rank) * 1000 + thread) as u32;
        assert_eq!(output[at..at + 4], expected.to_le_bytes());
    }
}

#[test]
fn a_block_must_not_exit_while_it_is_read() {
    let body = send("");
    Kernel { body: &body, blocks: 2, ..Kernel::default() }
        .fails(AsyncCopyRace, "may still read its shared memory");
}

#[test]
fn a_source_must_not_be_overwritten_before_the_copy_is_known_to_be_complete() {
    let body = send(&format!("st.shared.u32 [%r0], 0;\n{CLUSTER}"));
    Kernel { body: &body, blocks: 2, ..Kernel::default() }.fails(AsyncCopyRace, "may still read");
}

#[test]
fn registers_are_stored_and_added_remotely() {
    let prepare = "shl.b32 %r0, %t, 3;\nadd.u32 %r1, %r0, %tile;\nst.shared.v2.u32 [%r1], {7, 7};\n\
                   xor.b32 %r2, %rank, 1;\nmapa.shared::cluster.u32 %r3, %r1, %r2;\nmov.u32 %r4, bar;\n\
                   mapa.shared::cluster.u32 %r4, %r4, %r2;\n\
                   @%first mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 512;\n";
    for (operation, expected) in [
        (
            "mad.lo.u32 %r5, %rank, 100, %t;\nadd.u32 %r6, %r5, 1;\n\
             st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.u32 [%r3], {%r5, %r6}, [%r4];\n",
            (|rank, t| [rank * 100 + t, rank * 100 + t + 1]) as fn(u32, u32) -> [u32; 2],
        ),
        (
            "mad.lo.u32 %r5, %rank, 100, %t;\n\
             red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r3], %r5, [%r4];\n\
             red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.max.u32 [%r3+4], %r5, [%r4];\n",
            |rank, t| [rank * 100 + t + 7, 7.max(rank * 100 + t)],
        ),
    ] {
        let body = format!(
            "{OWN_OUT}{prepare}{CLUSTER}{operation}{WAIT}ld.shared.v2.u32 {{%r7, %r8}}, [%r1];\n\
             mul.wide.u32 %rd0, %t, 8;\nadd.s64 %rd0, %rd0, %out;\nst.global.v2.u32 [%rd0], {{%r7, %r8}};\n{CLUSTER}"
        );
        let output = Kernel { body: &body, blocks: 2, ..Kernel::default() }.output();
        for (rank, t) in (0..2u32).flat_map(|rank| (0..64).map(move |t| (rank, t))) {
            let at = (1024 * rank + 8 * t) as usize;
            let wanted: Vec<u8> = expected(1 - rank, t).into_iter().flat_map(u32::to_le_bytes).collect();
            assert_eq!(output[at..at + 8], wanted, "{operation}");
        }
    }
}

#[test]
fn copies_to_blocks_that_are_not_there_are_reported() {
    let multicast = |mask: u32| {
        format!(
            "{CLUSTER}setp.ne.u32 %p0, %rank, 0;\n@%p0 bra END;\nWORK: mov.u32 %r9, %clock;\n@!%first bra END;\n\
             mov.u32 %r0, 0;\nSPIN: add.u32 %r0, %r0, 1;\nsetp.lt.u32 %p1, %r0, 5000;\n@%p1 bra SPIN;\n\
             mov.u16 %h0, {mask};\n\
             cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%tile], [%in], 256, \
             [bar], %h0;\nEND:"
        )
    };
    let body = multicast(0);
    Kernel { body: &body, blocks: 2, ..Kernel::default() }.fails(InvalidOperand, "the mask is 0");
    let body = multicast(4);
    Kernel { body: &body, blocks: 2, ..Kernel::default() }.fails(InvalidOperand, "block 2 of a cluster of 2");
    // Whether the other block has exited depends on the seed; but it may not be there in any case.
    let body = multicast(2);
    let kernel = Kernel { body: &body, blocks: 2, ..Kernel::default() };
    for seed in super::SEEDS {
        let Err(ptx_sim::Error::Violation(violation)) = kernel.try_run(seed) else { panic!("not noticed") };
        assert!(matches!(violation.kind, BlockGone | AsyncCopyRace), "{violation}");
    }
}
