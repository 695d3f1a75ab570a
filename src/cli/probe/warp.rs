//! Probes of instructions in which a warp's or a block's threads take part together.

use std::fmt::Write as _;

use super::source::{AMPERE, Capability, HOPPER, probe, store_words};
use super::{Inputs, Probe};

const WARPS: u32 = 16;

/// One of these: reads `%w0` and `%w1` and leaves its answer in `%t1` and, where there are two words, `%t2`.
fn whole_warp(name: String, needs: Capability, out_words: usize, body: &str) -> Probe {
    let body = format!(
        "ld.global.b32 %w0, [%in];\nld.global.b32 %w1, [%in+4];\nmov.b32 %t1, 0;\nmov.b32 %t2, 0;\n{body}{}",
        store_words(&["%t1".to_string(), "%t2".to_string()][..out_words], 0)
    );
    let inputs = Inputs::Kinds { kinds: "raw raw".into(), seed: 1 };
    probe(name, needs, inputs, out_words as u32, 32 * WARPS, 32, &body)
}

pub fn probes() -> Vec<Probe> {
    [shuffles(), votes(), matches(), reductions(), blocks()].into_iter().flatten().collect()
}

fn shuffles() -> Vec<Probe> {
    let mut probes = Vec::new();
    for mode in ["up", "down", "bfly", "idx"] {
        // The clamp is 0 for `up` and 31 for the others, the upper bits are 32 - width.
        let clamp = if mode == "up" { 0 } else { 31 };
        for width in [32, 16, 8, 4, 2] {
            let c = (32 - width) << 8 | clamp;
            // The second operand is one number for the warp, as in a reduction, or one a lane.
            for (which, amount) in
                [("lanes", "and.b32 %t3, %w1, 63;\n"), ("same", "and.b32 %t3, %cta, 31;\n")]
            {
                let body = format!(
                    "{amount}shfl.sync.{mode}.b32 %t1|%p, %w0, %t3, {c}, -1;\nselp.b32 %t2, 1, 0, %p;\n"
                );
                probes.push(whole_warp(
                    format!("shfl.sync.{mode}.b32 width {width} {which}"),
                    AMPERE,
                    2,
                    &body,
                ));
            }
        }
        let body = format!("shfl.sync.{mode}.b32 %t1|%p, %w0, %w1, %w0, -1;\nselp.b32 %t2, 1, 0, %p;\n");
        probes.push(whole_warp(format!("shfl.sync.{mode}.b32 any operands"), AMPERE, 2, &body));
        // Each half of the warp by itself; lanes name sources in their own half.
        let body = format!(
            "setp.lt.u32 %q, %thread, 16;\n@%q bra LOW;\n\
             shfl.sync.{mode}.b32 %t1|%p, %w0, 3, {upper}, 0xffff0000;\nbra JOIN;\n\
             LOW:\nshfl.sync.{mode}.b32 %t1|%p, %w0, 5, {upper}, 0x0000ffff;\n\
             JOIN:\nselp.b32 %t2, 1, 0, %p;\n",
            upper = 16 << 8 | clamp
        );
        probes.push(whole_warp(format!("shfl.sync.{mode}.b32 by halves"), AMPERE, 2, &body));
    }
    probes
}

fn votes() -> Vec<Probe> {
    let mut probes = Vec::new();
    // By block none, all or some lanes agree.
    let prepare = "and.b32 %t3, %cta, 3;\nsetp.eq.u32 %p, %t3, 0;\n@%p mov.b32 %w0, 0;\nsetp.eq.u32 %p, %t3, 1;\n\
                   @%p mov.b32 %w0, 1;\nand.b32 %t4, %w0, 1;\nsetp.ne.u32 %p, %t4, 0;\n";
    for mode in ["all", "any", "uni"] {
        for negation in ["", "!"] {
            let body =
                format!("{prepare}vote.sync.{mode}.pred %q, {negation}%p, -1;\nselp.b32 %t1, 1, 0, %q;\n");
            probes.push(whole_warp(format!("vote.sync.{mode}.pred {negation}p"), AMPERE, 1, &body));
        }
    }
    probes.push(whole_warp(
        "vote.sync.ballot.b32".into(),
        AMPERE,
        1,
        &format!("{prepare}vote.sync.ballot.b32 %t1, %p, -1;\n"),
    ));
    let body = format!(
        "{prepare}setp.lt.u32 %q, %thread, 8;\n@%q bra LOW;\nvote.sync.ballot.b32 %t1, %p, 0xffffff00;\nbra JOIN;\n\
         LOW:\nvote.sync.ballot.b32 %t1, %p, 0x000000ff;\nJOIN:\n"
    );
    probes.push(whole_warp("vote.sync.ballot.b32 in parts".into(), AMPERE, 1, &body));
    probes.push(whole_warp("activemask.b32".into(), AMPERE, 1, "activemask.b32 %t1;\n"));
    let body = "elect.sync %t1|%p, -1;\nselp.b32 %t2, 1, 0, %p;\n";
    probes.push(whole_warp("elect.sync".into(), HOPPER, 2, body));
    let body = "setp.lt.u32 %q, %thread, 11;\n@%q bra LOW;\nelect.sync %t1|%p, 0xfffff800;\nbra JOIN;\n\
                LOW:\nelect.sync %t1|%p, 0x000007ff;\nJOIN:\nselp.b32 %t2, 1, 0, %p;\n";
    probes.push(whole_warp("elect.sync in parts".into(), HOPPER, 2, body));
    probes
}

fn matches() -> Vec<Probe> {
    // Few values, so that lanes have the same; in every fourth block all the same.
    let prepare =
        "and.b32 %w0, %w0, 3;\nand.b32 %t3, %cta, 3;\nsetp.eq.u32 %q, %t3, 0;\n@%q mov.b32 %w0, 7;\n";
    let wide = format!("{prepare}mov.b64 %l0, {{%w0, %w0}};\n");
    let all = |prepare: &str, ty: &str, value: &str| {
        let body = format!("{prepare}match.all.sync.{ty} %t1|%p, {value}, -1;\nselp.b32 %t2, 1, 0, %p;\n");
        whole_warp(format!("match.all.sync.{ty}"), AMPERE, 2, &body)
    };
    let any = |prepare: &str, ty: &str, value: &str| {
        let body = format!("{prepare}match.any.sync.{ty} %t1, {value}, -1;\n");
        whole_warp(format!("match.any.sync.{ty}"), AMPERE, 1, &body)
    };
    vec![
        any(prepare, "b32", "%w0"),
        any(&wide, "b64", "%l0"),
        all(prepare, "b32", "%w0"),
        all(&wide, "b64", "%l0"),
    ]
}

fn reductions() -> Vec<Probe> {
    let operations =
        ["add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "or.b32", "xor.b32"];
    let mut probes: Vec<_> = operations
        .iter()
        .map(|operation| {
            let body = format!("redux.sync.{operation} %t1, %w0, -1;\n");
            whole_warp(format!("redux.sync.{operation}"), AMPERE, 1, &body)
        })
        .collect();
    let body = "setp.lt.u32 %q, %thread, 8;\n@%q bra LOW;\nredux.sync.add.u32 %t1, %w0, 0xffffff00;\nbra JOIN;\n\
                LOW:\nredux.sync.add.u32 %t1, %w0, 0x000000ff;\nJOIN:\n";
    probes.push(whole_warp("redux.sync.add.u32 in parts".into(), AMPERE, 1, body));
    probes
}

/// Reductions by a barrier of 128 threads.
fn blocks() -> Vec<Probe> {
    let mut body = String::from(
        "ld.global.b32 %w0, [%in];\nand.b32 %t3, %cta, 3;\nsetp.eq.u32 %p, %t3, 0;\n@%p mov.b32 %w0, 0;\n\
         setp.eq.u32 %p, %t3, 1;\n@%p mov.b32 %w0, 1;\nand.b32 %t4, %w0, 1;\nsetp.ne.u32 %p, %t4, 0;\n",
    );
    // Writing to a string does not fail.
    let _ = writeln!(
        body,
        "barrier.red.popc.u32 %t1, 0, %p;\nbar.red.and.pred %q, 1, %p;\nselp.b32 %t2, 1, 0, %q;\n\
         bar.red.or.pred %q, 2, 128, !%p;\nselp.b32 %t3, 1, 0, %q;"
    );
    body += &store_words(&["%t1".into(), "%t2".into(), "%t3".into()], 0);
    let inputs = Inputs::Kinds { kinds: "raw".into(), seed: 1 };
    vec![probe("bar.red popc and or".into(), AMPERE, inputs, 3, 1024, 128, &body)]
}
