//! Clusters: shared memory of other blocks, `barrier.cluster`, and what a launch of them needs.

use ptx_sim::{
    ComputeCapability, Device, DeviceProperties, Error, LaunchConfig, Report, RunOptions, Violation,
    ViolationKind,
};

use crate::run::module;

/// Seeds under which each kernel runs.
const SEEDS: u64 = 12;

/// Registers and addresses that the kernels use: `%rank` of `%size`, thread `%t`, and its word `%mine` of shared memory.
const PROLOGUE: &str = "
    .reg .b32 %r<20>, %t, %rank, %size, %mine, %block;
    .reg .b64 %rd<10>, %place;
    .reg .pred %p<10>;
    .shared .align 4 .b8 words[4096];
    mov.u32 %t, %tid.x;
    mov.u32 %block, %ctaid.x;
    mov.u32 %rank, %cluster_ctarank;
    mov.u32 %size, %cluster_nctarank;
    mov.u32 %mine, words;
    shl.b32 %r0, %t, 2;
    add.u32 %mine, %mine, %r0;
    mul.wide.u32 %place, %block, 4;
    add.s64 %place, %place, %out;
";

struct Cluster<'a> {
    body: &'a str,
    config: LaunchConfig,
    seed: u64,
    checks: bool,
    target: &'a str,
    properties: DeviceProperties,
}

impl<'a> Cluster<'a> {
    /// Blocks of 64 threads in clusters.
    fn new(body: &'a str, blocks: u32, cluster: u32) -> Self {
        Self {
            body,
            config: LaunchConfig::new([blocks, 1, 1], [64, 1, 1]).cluster([cluster, 1, 1]),
            seed: 0,
            checks: true,
            target: "sm_90",
            properties: DeviceProperties::of(ComputeCapability::Sm90),
        }
    }

    fn run(&self) -> Result<(Vec<u32>, Report), Error> {
        let text = module(self.target, &format!("{PROLOGUE}{}", self.body));
        self.run_module(&text)
    }

    fn run_module(&self, text: &str) -> Result<(Vec<u32>, Report), Error> {
        let device = Device::new(self.properties.clone());
        let mut options = RunOptions::default();
        options.seed = self.seed;
        options.checks.races = self.checks;
        options.max_instructions = Some(1_000_000);
        device.set_options(options);
        let kernel = device.load_module(text)?.kernel("kernel")?;
        let out = device.allocate(4096)?;
        device.fill(out, 0, 4096)?;
        let mut parameters = out.to_le_bytes().to_vec();
        parameters.extend(out.to_le_bytes());
        let stream = device.create_stream();
        stream.launch(&kernel, &self.config, &parameters)?;
        let report = stream.synchronize()?.remove(0);
        let mut bytes = vec![0; 4096];
        device.read(out, &mut bytes)?;
        let words =
            bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        Ok((words.collect(), report))
    }

    /// The output under each seed.
    fn passes(mut self, expected: &[u32]) {
        for seed in 0..SEEDS {
            self.seed = seed;
            match self.run() {
                Ok((words, _)) => assert_eq!(&words[..expected.len()], expected, "seed {seed}"),
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
    }

    /// The reports under each seed, which are all of this kind.
    fn fails(mut self, kind: ViolationKind) -> Vec<Violation> {
        (0..SEEDS)
            .map(|seed| {
                self.seed = seed;
                match self.run() {
                    Err(Error::Violation(violation)) => {
                        assert_eq!(violation.kind, kind, "{violation}");
                        *violation
                    }
                    Err(error) => panic!("seed {seed}: {error}"),
                    Ok(_) => panic!("seed {seed}: nothing was reported for\n{}", self.body),
                }
            })
            .collect()
    }

    /// What the driver refuses.
    fn refused(&self) -> String {
        match self.run() {
            Err(error @ Error::Launch { argument: "cluster", .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

/// Each block reads the words of the next one and adds them up; `first` and `last` stand where barriers belong.
fn neighbour_sum(first: &str, last: &str) -> String {
    format!(
        "mad.lo.u32 %r1, %block, 100, %t;
         st.shared.u32 [%mine], %r1;
         {first}
         add.u32 %r2, %rank, 1;
         rem.u32 %r2, %r2, %size;
         mapa.shared::cluster.u32 %r3, %mine, %r2;
         ld.shared::cluster.u32 %r4, [%r3];
         {last}
         red.global.add.u32 [%place], %r4;"
    )
}

const SYNC: &str = "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;";

/// The sums of [`neighbour_sum`].
fn sums(blocks: u32, cluster: u32) -> Vec<u32> {
    let next = |block: u32| block / cluster * cluster + (block % cluster + 1) % cluster;
    (0..blocks).map(|block| (0..64).map(|thread| next(block) * 100 + thread).sum()).collect()
}

#[test]
fn blocks_read_each_others_shared_memory() {
    for (blocks, cluster) in [(2, 2), (6, 2), (8, 8), (5, 1), (12, 3)] {
        Cluster::new(&neighbour_sum(SYNC, SYNC), blocks, cluster).passes(&sums(blocks, cluster));
    }
}

#[test]
fn generic_addresses_reach_other_blocks() {
    let body = format!(
        "mov.u32 %r1, %block;
         st.shared.u32 [%mine], %r1;
         cvt.u64.u32 %rd1, %mine;
         cvta.shared.u64 %rd1, %rd1;
         {SYNC}
         sub.u32 %r2, %size, 1;
         sub.u32 %r2, %r2, %rank;
         mapa.u64 %rd2, %rd1, %r2;
         getctarank.u64 %r5, %rd2;
         isspacep.shared::cta %p1, %rd2;
         isspacep.shared::cluster %p2, %rd2;
         isspacep.shared %p3, %rd1;
         isspacep.global %p4, %rd2;
         ld.u32 %r4, [%rd2];
         cvta.to.shared::cluster.u64 %rd3, %rd2;
         getctarank.shared::cluster.u64 %r6, %rd3;
         ld.shared::cluster.u32 %r7, [%rd3];
         {SYNC}
         mad.lo.u32 %r8, %r4, 10, %r5;
         mad.lo.u32 %r8, %r8, 10, %r6;
         mad.lo.u32 %r8, %r8, 10, %r7;
         selp.u32 %r9, 1, 0, %p1;
         mad.lo.u32 %r8, %r8, 10, %r9;
         selp.u32 %r9, 1, 0, %p2;
         mad.lo.u32 %r8, %r8, 10, %r9;
         selp.u32 %r9, 1, 0, %p3;
         mad.lo.u32 %r8, %r8, 10, %r9;
         selp.u32 %r9, 1, 0, %p4;
         mad.lo.u32 %r8, %r8, 10, %r9;
         setp.eq.u32 %p0, %t, 0;
         @%p0 st.global.u32 [%place], %r8;"
    );
    // Block 0 finds block 1's number, rank, rank, number; not its own, of the cluster, its own, not global.
    Cluster::new(&body, 2, 2).passes(&[11110110, 110]);
}

#[test]
fn a_histogram_is_spread_over_a_cluster() {
    // Bin b lies in block b % size; each thread counts one value.
    let body = format!(
        "mov.u32 %r1, 0;
         st.shared.u32 [%mine], %r1;
         {SYNC}
         mad.lo.u32 %r2, %rank, 64, %t;
         mul.lo.u32 %r2, %r2, 7;
         and.b32 %r2, %r2, 15;
         rem.u32 %r3, %r2, %size;
         div.u32 %r4, %r2, %size;
         mov.u32 %r5, words;
         mad.lo.u32 %r5, %r4, 4, %r5;
         mapa.shared::cluster.u32 %r6, %r5, %r3;
         red.relaxed.cluster.shared::cluster.add.u32 [%r6], 1;
         {SYNC}
         ld.shared.u32 %r7, [%mine];
         setp.lt.u32 %p0, %t, 4;
         mad.lo.u32 %r8, %rank, 4, %t;
         mul.wide.u32 %rd1, %r8, 4;
         add.s64 %rd1, %rd1, %out;
         @%p0 st.global.u32 [%rd1], %r7;"
    );
    Cluster::new(&body, 4, 4).passes(&[16; 16]);
}

#[test]
fn special_registers_say_where_a_block_lies() {
    let body = "
        .reg .b32 %s<16>;
        mov.u32 %s0, %clusterid.x;
        mov.u32 %s1, %clusterid.y;
        mov.u32 %s2, %nclusterid.x;
        mov.u32 %s3, %nclusterid.y;
        mov.u32 %s4, %cluster_ctaid.x;
        mov.u32 %s5, %cluster_ctaid.y;
        mov.u32 %s6, %cluster_nctaid.x;
        mov.u32 %s7, %cluster_nctaid.y;
        mov.pred %p0, %is_explicit_cluster;
        selp.u32 %s8, 1, 0, %p0;
        mov.u32 %s9, %ctaid.y;
        mov.u32 %s10, %nctaid.x;
        mad.lo.u32 %r1, %s9, %s10, %block;
        mul.wide.u32 %rd1, %r1, 40;
        add.s64 %rd1, %rd1, %out;
        setp.eq.u32 %p1, %t, 0;
        @!%p1 exit;
        st.global.u32 [%rd1], %s0;
        st.global.u32 [%rd1+4], %s1;
        st.global.u32 [%rd1+8], %s2;
        st.global.u32 [%rd1+12], %s3;
        st.global.u32 [%rd1+16], %s4;
        st.global.u32 [%rd1+20], %s5;
        st.global.u32 [%rd1+24], %s6;
        st.global.u32 [%rd1+28], %s7;
        st.global.u32 [%rd1+32], %s8;
        st.global.u32 [%rd1+36], %rank;";
    let mut run = Cluster::new(body, 1, 1);
    run.config = LaunchConfig::new([6, 4, 1], [64, 1, 1]).cluster([3, 2, 1]);
    let (words, _) = run.run().unwrap();
    for (y, x) in (0..4).flat_map(|y| (0..6).map(move |x| (y, x))) {
        let at = 10 * (y * 6 + x) as usize;
        let expected = [x / 3, y / 2, 2, 2, x % 3, y % 2, 3, 2, 1, x % 3 + 3 * (y % 2)];
        assert_eq!(words[at..at + 10], expected, "block ({x}, {y})");
    }
    run.config = LaunchConfig::new([2, 1, 1], [64, 1, 1]);
    assert_eq!(run.run().unwrap().0[10..20], [1, 0, 2, 1, 0, 0, 1, 1, 0, 0]);
}

#[test]
fn an_access_before_the_other_block_has_started_is_reported() {
    let violations = Cluster::new(&neighbour_sum("", SYNC), 4, 2).fails(ViolationKind::BlockGone);
    for violation in violations {
        assert!(violation.message.contains("need not have started"), "{violation}");
    }
    // It is a matter of what is ordered, as races are: else all that is seen is what has not been written yet.
    let body = neighbour_sum("", SYNC);
    let mut run = Cluster::new(&body, 4, 2);
    run.checks = false;
    let kind = match run.run() {
        Err(Error::Violation(violation)) => violation.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind, ViolationKind::UninitializedShared);
}

#[test]
fn an_access_after_the_other_block_may_have_exited_is_reported() {
    for (blocks, cluster) in [(2, 2), (4, 4)] {
        let body = neighbour_sum(SYNC, "");
        for violation in Cluster::new(&body, blocks, cluster).fails(ViolationKind::BlockGone) {
            assert!(violation.message.contains("exit"), "{violation}");
            assert!(violation.message.contains("barrier.cluster"), "{violation}");
        }
    }
    // The block that exits may be the one whose access nobody waits for.
    let body = neighbour_sum(SYNC, "barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.aligned;");
    Cluster::new(&body, 2, 2).fails(ViolationKind::BlockGone);
}

#[test]
fn a_relaxed_arrival_releases_nothing() {
    let relaxed = "barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.acquire.aligned;";
    for violation in Cluster::new(&neighbour_sum(relaxed, SYNC), 2, 2).fails(ViolationKind::SharedRace) {
        let prior = violation.prior.as_ref().and_then(|prior| prior.thread).unwrap();
        assert_ne!(prior.block, violation.thread.unwrap().block, "{violation}");
        assert!(violation.message.contains("of another block"), "{violation}");
        assert!(violation.message.contains("in the memory of block"), "{violation}");
    }
    // But what is before a fence of the cluster.
    let fenced = format!("fence.acq_rel.cluster; {relaxed}");
    Cluster::new(&neighbour_sum(&fenced, SYNC), 2, 2).passes(&sums(2, 2));
    let too_narrow = format!("fence.acq_rel.cta; {relaxed}");
    Cluster::new(&neighbour_sum(&too_narrow, SYNC), 2, 2).fails(ViolationKind::SharedRace);
}

#[test]
fn what_comes_between_arrive_and_wait_is_not_ordered() {
    let body = format!(
        "st.shared.u32 [%mine], %t;
         {SYNC}
         xor.b32 %r2, %rank, 1;
         mapa.shared::cluster.u32 %r3, %mine, %r2;
         barrier.cluster.arrive.aligned;
         st.shared.u32 [%mine], %block;
         barrier.cluster.wait.aligned;
         ld.shared::cluster.u32 %r4, [%r3];
         {SYNC}"
    );
    Cluster::new(&body, 2, 2).fails(ViolationKind::SharedRace);
}

#[test]
fn threads_that_have_exited_are_not_waited_for() {
    let body = format!(
        "st.shared.u32 [%mine], %t;
         setp.ge.u32 %p0, %t, 40;
         @%p0 exit;
         setp.eq.u32 %p1, %rank, 1;
         @%p1 exit;
         {SYNC}
         ld.shared.u32 %r1, [%mine];
         red.global.add.u32 [%place], %r1;"
    );
    Cluster::new(&body, 4, 4).passes(&[780, 0, 780, 780]);
    // Arriving and leaving is enough.
    let body = "barrier.cluster.arrive;
                setp.eq.u32 %p1, %rank, 1;
                @%p1 exit;
                barrier.cluster.wait;
                red.global.add.u32 [%place], 1;";
    Cluster::new(body, 2, 2).passes(&[64, 0]);
}

#[test]
fn arrivals_and_waits_take_turns() {
    let twice = Cluster::new("barrier.cluster.arrive; barrier.cluster.arrive;", 2, 2);
    for violation in twice.fails(ViolationKind::BarrierMismatch) {
        assert!(violation.message.contains("wait is missing"), "{violation}");
    }
    Cluster::new("barrier.cluster.wait;", 2, 2).fails(ViolationKind::BarrierMismatch);
    let body = "setp.lt.u32 %p0, %t, 7;\n@%p0 bra L;\nbarrier.cluster.arrive.aligned;\nbra M;\n\
                L: barrier.cluster.arrive.aligned;\nM: barrier.cluster.wait.aligned;";
    Cluster::new(body, 2, 2).fails(ViolationKind::DivergentWarp);
    // Without .aligned the lanes of a warp may come from different places, but all of them have to come.
    let body = body.replace("arrive.aligned", "arrive");
    Cluster::new(&body, 2, 2).passes(&[]);
    let body = "setp.ne.u32 %p0, %t, 7;\n@%p0 bra M;\nbarrier.cluster.arrive;\nM: bar.sync 0;";
    Cluster::new(body, 2, 2).fails(ViolationKind::DivergentWarp);
}

#[test]
fn a_block_that_does_not_come_is_named() {
    let body = format!("setp.eq.u32 %p0, %rank, 1;\n@%p0 bra L;\n{SYNC}\nbra M;\nL: bar.sync 1, 96;\nM:");
    for violation in Cluster::new(&body, 2, 2).fails(ViolationKind::Deadlock) {
        for part in
            ["block (0, 0, 0), warp 0", "block (1, 0, 0): barrier.cluster: warps 0, 1 have not arrived"]
        {
            assert!(violation.message.contains(part), "{violation}");
        }
    }
}

#[test]
fn flags_order_blocks_of_a_cluster() {
    let flag = |release: &str, acquire: &str| {
        format!(
            "mov.u32 %r1, 0;
             st.shared.u32 [%mine], %r1;
             {SYNC}
             mov.u32 %r2, words;
             setp.ne.u32 %p0, %t, 0;
             setp.eq.u32 %p1, %rank, 1;
             mapa.shared::cluster.u32 %r3, %r2, 1;
             @%p0 bra DONE;
             @%p1 bra WAIT;
             st.shared::cluster.u32 [%r3+4], 42;
             st.{release}.shared::cluster.u32 [%r3], 1;
             bra DONE;
             WAIT: ld.{acquire}.shared::cta.u32 %r4, [%r2];
             setp.eq.u32 %p2, %r4, 0;
             @%p2 bra WAIT;
             ld.shared.u32 %r5, [%r2+4];
             st.global.u32 [%place], %r5;
             DONE:
             {SYNC}"
        )
    };
    Cluster::new(&flag("release.cluster", "acquire.cluster"), 2, 2).passes(&[0, 42]);
    Cluster::new(&flag("relaxed.cluster", "acquire.cluster"), 2, 2).fails(ViolationKind::SharedRace);
    Cluster::new(&flag("release.cta", "acquire.cta"), 2, 2).fails(ViolationKind::SharedRace);
}

#[test]
fn remote_reads_of_what_nothing_has_written_are_followed() {
    let read = |used: &str| {
        format!(
            "setp.lt.u32 %p0, %t, 32;
             @%p0 st.shared.u32 [%mine], %t;
             {SYNC}
             xor.b32 %r2, %rank, 1;
             mapa.shared::cluster.u32 %r3, %mine, %r2;
             ld.shared::cluster.u32 %r4, [%r3];
             {used}
             {SYNC}"
        )
    };
    Cluster::new(&read("@%p0 red.global.add.u32 [%place], %r4;"), 2, 2).passes(&[496, 496]);
    Cluster::new(&read("red.global.add.u32 [%place], %r4;"), 2, 2).fails(ViolationKind::UninitializedShared);
    // Stored to another block, it is unwritten there.
    let body = read(
        "st.shared::cluster.u32 [%r3+256], %r4; barrier.cluster.arrive; barrier.cluster.wait;
         ld.shared.u32 %r5, [%mine+256]; red.global.add.u32 [%place], %r5;",
    );
    Cluster::new(&body, 2, 2).fails(ViolationKind::UninitializedShared);
}

#[test]
fn bounds_of_other_blocks_are_checked() {
    let body = |rank: u32, offset: u32| {
        format!(
            "{SYNC}
             mapa.shared::cluster.u32 %r3, %mine, {rank};
             st.shared::cluster.u32 [%r3+{offset}], %t;
             {SYNC}"
        )
    };
    for (rank, offset) in [(1, 4096), (1, 1 << 20), (2, 0), (100, 0), (1 << 24, 0), (255, 0)] {
        Cluster::new(&body(rank, offset), 2, 2).fails(ViolationKind::OutOfBounds);
    }
    Cluster::new(&body(1, 2), 2, 2).fails(ViolationKind::Misaligned);
    // An address of the cluster is none of the block.
    let body = format!("{SYNC} mapa.shared::cluster.u32 %r3, %mine, 1; st.shared.u32 [%r3], %t; {SYNC}");
    Cluster::new(&body, 2, 2).fails(ViolationKind::OutOfBounds);
}

#[test]
fn launches_that_a_driver_refuses() {
    let refused = |blocks: u32, cluster: u32| Cluster::new("", blocks, cluster).refused();
    assert!(refused(5, 2).contains("multiple"));
    assert!(refused(2, 0).contains("multiple"));
    assert!(refused(16, 16).contains("at most 8"));
    let mut run = Cluster::new("", 32, 16);
    run.config = run.config.non_portable_cluster(true);
    run.run().unwrap();
    run.config = LaunchConfig::new([32, 1, 1], [64, 1, 1]).cluster([32, 1, 1]).non_portable_cluster(true);
    assert!(run.refused().contains("at most 16"));
    let mut run = Cluster::new("", 2, 2);
    run.properties = DeviceProperties::of(ComputeCapability::Sm80);
    run.target = "sm_80";
    run.body = "exit;";
    let text = module("sm_80", "exit;");
    assert!(matches!(run.run_module(&text), Err(Error::Launch { argument: "cluster", .. })));
    let mut run = Cluster::new("", 8, 8);
    run.properties.sm_count = 4;
    run.config = run.config.dynamic_shared_bytes(200 << 10);
    assert!(run.refused().contains("fit the device"));
}

#[test]
fn directives_say_what_clusters_a_kernel_takes() {
    let with = |directives: &str| {
        module("sm_90", "")
            .replace("output) {", &format!("output) {directives} {{"))
            .replace(".version 8.8", ".version 9.0")
    };
    let mut run = Cluster::new("", 4, 1);
    let required = with(".reqnctapercluster 2");
    run.run_module(&required).unwrap();
    run.config = run.config.cluster([2, 1, 1]);
    run.run_module(&required).unwrap();
    run.config = run.config.cluster([4, 1, 1]);
    assert!(run.run_module(&required).unwrap_err().to_string().contains(".reqnctapercluster"));
    assert!(run.run_module(&with(".maxclusterrank 2")).unwrap_err().to_string().contains(".maxclusterrank"));
    run.run_module(&with(".explicitcluster")).unwrap();
    run.config = run.config.cluster([1, 1, 1]);
    assert!(run.run_module(&with(".explicitcluster")).unwrap_err().to_string().contains(".explicitcluster"));
    let counted = with(".reqntid 64, 1, 1 .reqnctapercluster 2, 1, 1 .blocksareclusters");
    assert_eq!(run.run_module(&counted).unwrap().1.grid, [8, 1, 1]);
}

#[test]
fn clusters_are_resident_whole() {
    // Seven blocks fit, so three clusters of two.
    let mut run = Cluster::new(SYNC, 40, 2);
    run.properties.sm_count = 7;
    run.config = run.config.dynamic_shared_bytes(200 << 10);
    assert_eq!(run.run().unwrap().1.resident_blocks, 6);
    // Blocks that wait for one of the next cluster: with room for both clusters they meet.
    let body = "setp.ne.u32 %p0, %t, 0;
                @%p0 exit;
                atom.add.release.gpu.global.u32 %r1, [%out], 1;
                WAIT: ld.acquire.gpu.global.u32 %r2, [%out];
                setp.lt.u32 %p1, %r2, 8;
                @%p1 bra WAIT;";
    for (sms, ends) in [(8, true), (7, false)] {
        let mut run = Cluster::new(body, 8, 4);
        run.properties.sm_count = sms;
        run.config = run.config.dynamic_shared_bytes(200 << 10);
        match run.run() {
            Ok(_) if ends => {}
            Err(Error::Violation(violation)) if !ends => {
                assert_eq!(violation.kind, ViolationKind::Deadlock, "{violation}");
                assert!(violation.message.contains("4 of 8 fit"), "{violation}");
            }
            other => panic!("{sms} multiprocessors: {other:?}"),
        }
    }
}

#[test]
fn clusters_need_their_target() {
    for body in [
        "barrier.cluster.arrive;",
        "mapa.shared::cluster.u32 %r1, %mine, 0;",
        "ld.shared::cluster.u32 %r1, [%mine];",
        "getctarank.shared::cluster.u32 %r1, %mine;",
    ] {
        let mut run = Cluster::new(body, 1, 1);
        run.target = "sm_80";
        let error = run.run().unwrap_err().to_string();
        assert!(error.contains("9.0"), "{error}");
    }
}
