//! What fences order between blocks: the last block of a grid sums what all blocks left in global memory.

use ptx_sim::ViolationKind::GlobalRace;

use crate::run::Run;

const BLOCKS: u32 = 3;
const THREADS: u32 = 64;

/// Each thread stores a number; thread 0 of each block counts the blocks that are done; the last block adds up all that
/// was stored. The parameters are the instructions between the stores and the barrier before the count, right before
/// and right after the count, and after the barrier that follows it.
fn last_block(stored: &str, before: &str, after: &str, told: &str) -> String {
    let words = BLOCKS * THREADS;
    format!(
        ".reg .b32 %t, %b, %i, %v, %sum, %old;\n.reg .b64 %a;\n.reg .pred %first, %last, %more;\n\
         .shared .align 4 .u32 seen;\n\
         mov.u32 %t, %tid.x;\nmov.u32 %b, %ctaid.x;\nmad.lo.u32 %i, %b, {THREADS}, %t;\n\
         mad.wide.u32 %a, %i, 4, %out;\nst.global.u32 [%a+4], %i;\n{stored}\nbar.sync 0;\n\
         setp.eq.u32 %first, %t, 0;\n@!%first bra counted;\n{before}\n\
         atom.global.add.u32 %old, [%in], 1;\n{after}\nst.shared.u32 [seen], %old;\ncounted:\nbar.sync 0;\n\
         ld.shared.u32 %old, [seen];\nsetp.eq.u32 %last, %old, {};\n@!%last bra done;\n{told}\n\
         mov.u32 %sum, 0;\nmov.u32 %i, 0;\nnext:\nmad.wide.u32 %a, %i, 4, %out;\nld.global.u32 %v, [%a+4];\n\
         add.u32 %sum, %sum, %v;\nadd.u32 %i, %i, 1;\nsetp.lt.u32 %more, %i, {words};\n@%more bra next;\n\
         @%first st.global.u32 [%out], %sum;\ndone:",
        BLOCKS - 1
    )
}

fn runs(body: &str, each: impl Fn(&Run<'_>)) {
    for seed in 0..6 {
        each(&Run { body, grid: BLOCKS, block: THREADS, seed, ..Run::default() });
    }
}

fn passes(body: &str) {
    let words = BLOCKS * THREADS;
    runs(body, |run| {
        assert_eq!(run.output(&[0], words as usize + 1)[0], words * (words - 1) / 2);
    });
}

fn races(body: &str) {
    runs(body, |run| {
        run.expect(GlobalRace, &[0], (BLOCKS * THREADS) as usize + 1);
    });
}

#[test]
fn fences_of_the_counting_threads() {
    for fence in ["fence.acq_rel.gpu;", "fence.sc.gpu;", "membar.gl;", "membar.sys;"] {
        passes(&last_block("", fence, fence, ""));
        races(&last_block("", fence, "", ""));
        races(&last_block("", "", fence, ""));
    }
    races(&last_block("", "membar.cta;", "membar.cta;", ""));
}

#[test]
fn sequentially_consistent_fences_of_the_storing_threads() {
    for fence in ["fence.sc.gpu;", "membar.gl;"] {
        passes(&last_block(fence, "", fence, ""));
        passes(&last_block(fence, "", "", fence));
        passes(&last_block("", fence, "", fence));
        races(&last_block(fence, "", "", ""));
        races(&last_block("", "", "", fence));
        races(&last_block(fence, "", "fence.acq_rel.gpu;", ""));
        races(&last_block("fence.acq_rel.gpu;", "", fence, ""));
    }
}

#[test]
fn fences_of_other_lanes_without_a_barrier() {
    // What lane 1 stored is behind its own fence, but nothing orders that before lane 0's count.
    let body = ".reg .b32 %l, %old;\n.reg .b64 %a;\n.reg .pred %first, %last;\n\
                mov.u32 %l, %laneid;\nmad.wide.u32 %a, %l, 4, %out;\nmov.u32 %old, %ctaid.x;\n\
                setp.eq.u32 %last, %old, 0;\n@%last st.global.u32 [%a], %l;\nmembar.gl;\nSYNC\n\
                setp.eq.u32 %first, %l, 0;\n@!%first bra done;\natom.global.add.u32 %old, [%in], 1;\nmembar.gl;\n\
                setp.eq.u32 %last, %old, 1;\n@%last ld.global.u32 %old, [%out+4];\ndone:";
    let run = |sync: &str, check: &dyn Fn(&Run<'_>)| {
        let body = body.replace("SYNC", sync);
        check(&Run { body: &body, grid: 2, ..Run::default() });
    };
    run("bar.warp.sync -1;", &|run| {
        run.output(&[0], 32);
    });
    run("", &|run| {
        run.expect(GlobalRace, &[0], 32);
    });
}
