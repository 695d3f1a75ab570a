//! Programmatic dependent launch: grids that overlap, and `griddepcontrol`.

use ptx_sim::{
    ComputeCapability, Device, DeviceProperties, Error, Kernel, LaunchConfig, Module, RunOptions, Stream,
    Violation, ViolationKind,
};

/// Seeds under which each case runs.
const SEEDS: u64 = 12;
/// Words of each buffer, one for each thread.
const WORDS: usize = 256;

/// `kernel NAME(in, out)` in which `%t` is the thread's number in the grid, `%from` and `%to` are its words, and `%in`
/// and `%out` the buffers.
fn kernel(name: &str, body: &str) -> String {
    format!(
        ".visible .entry {name}(.param .u64 input, .param .u64 output) {{
         .reg .b32 %r<10>, %t;
         .reg .b64 %in, %out, %from, %to, %rd<10>;
         .reg .pred %p<10>;
         ld.param.u64 %in, [input];
         ld.param.u64 %out, [output];
         mov.u32 %r0, %ctaid.x;
         mov.u32 %r1, %ntid.x;
         mov.u32 %t, %tid.x;
         mad.lo.u32 %t, %r0, %r1, %t;
         mul.wide.u32 %rd0, %t, 4;
         add.s64 %from, %in, %rd0;
         add.s64 %to, %out, %rd0;
         {body}
         ret;
         }}\n"
    )
}

/// Adds 1 to each word, and lets the next grid start at once.
const STEP: &str = "griddepcontrol.launch_dependents;
    griddepcontrol.wait;
    ld.global.u32 %r2, [%from];
    add.u32 %r2, %r2, 1;
    st.global.u32 [%to], %r2;";

/// The same with nothing that waits.
const HASTY: &str = "griddepcontrol.launch_dependents;
    ld.global.u32 %r2, [%from];
    add.u32 %r2, %r2, 1;
    st.global.u32 [%to], %r2;";

struct Bench {
    device: Device,
    stream: Stream,
    module: Module,
    config: LaunchConfig,
    buffers: Vec<u64>,
}

impl Bench {
    fn new(kernels: &[(&str, &str)], seed: u64) -> Self {
        let device = Device::new(DeviceProperties::of(ComputeCapability::Sm90));
        let mut options = RunOptions::default();
        options.seed = seed;
        options.max_instructions = Some(1_000_000);
        device.set_options(options);
        let text: String = kernels.iter().map(|(name, body)| kernel(name, body)).collect();
        let module = format!(".version 8.8\n.target sm_90\n.address_size 64\n{text}");
        let module = device.load_module(&module).unwrap();
        let bytes = 4 * WORDS as u64;
        let buffers: Vec<u64> = (0..4).map(|_| device.allocate(bytes).unwrap()).collect();
        buffers.iter().for_each(|buffer| device.fill(*buffer, 0, bytes).unwrap());
        let config = LaunchConfig::new([4, 1, 1], [64, 1, 1]).programmatic(true);
        let stream = device.create_stream();
        Self { device, stream, module, config, buffers }
    }

    fn kernel(&self, name: &str) -> Kernel {
        self.module.kernel(name).unwrap()
    }

    fn launch(&self, name: &str, from: usize, to: usize) {
        self.launch_as(name, from, to, self.config);
    }

    fn launch_as(&self, name: &str, from: usize, to: usize, config: LaunchConfig) {
        let mut parameters = self.buffers[from].to_le_bytes().to_vec();
        parameters.extend(self.buffers[to].to_le_bytes());
        self.stream.launch(&self.kernel(name), &config, &parameters).unwrap();
    }

    fn words(&self, buffer: usize) -> Vec<u32> {
        let mut bytes = vec![0; 4 * WORDS];
        self.device.read(self.buffers[buffer], &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
    }

    fn violation(&self) -> Violation {
        match self.stream.synchronize() {
            Err(Error::Violation(violation)) => *violation,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn grids_that_wait_see_what_was_before_them() {
    for seed in 0..SEEDS {
        let bench = Bench::new(&[("step", STEP)], seed);
        bench.launch("step", 0, 1);
        bench.launch("step", 1, 2);
        bench.launch("step", 2, 3);
        bench.launch("step", 3, 1);
        let reports = bench.stream.synchronize().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bench.words(1), [4; WORDS]);
        // Each launch has counters of its own.
        assert_eq!(reports.len(), 4);
        for report in &reports {
            assert_eq!(report.counters.global_written.requested_bytes, 4 * WORDS as u64);
            assert_eq!(report.counters.global_written.unique_bytes, 4 * WORDS as u64, "seed {seed}");
            assert_eq!(report.counters.global_read.unique_bytes, 4 * WORDS as u64, "seed {seed}");
        }
        assert_eq!(bench.device.totals().launches, 4);
    }
}

#[test]
fn a_grid_that_does_not_wait_races() {
    for seed in 0..SEEDS {
        let bench = Bench::new(&[("step", STEP), ("hasty", HASTY)], seed);
        bench.launch("step", 0, 1);
        bench.launch("hasty", 1, 2);
        let violation = bench.violation();
        assert_eq!(violation.kind, ViolationKind::GlobalRace, "{violation}");
        assert!(violation.message.contains("griddepcontrol.wait is missing"), "{violation}");
        let prior = violation.prior.as_ref().unwrap();
        assert!(prior.kernel.as_ref().is_some_and(|kernel| *kernel != violation.kernel), "{violation}");
        assert!(prior.thread.is_some() && prior.location.is_some(), "{violation}");
        // Writes of one place.
        let bench = Bench::new(&[("step", STEP), ("hasty", HASTY)], seed);
        bench.launch("step", 0, 1);
        bench.launch("hasty", 2, 1);
        assert_eq!(bench.violation().kind, ViolationKind::GlobalRace);
        // And of what the grid before reads.
        let bench = Bench::new(&[("step", STEP), ("hasty", HASTY)], seed);
        bench.launch("step", 0, 1);
        bench.launch("hasty", 2, 0);
        assert_eq!(bench.violation().kind, ViolationKind::GlobalRace);
    }
}

#[test]
fn a_dependent_starts_early_or_late() {
    // Sees whether the grid before has written. That is a race, which is not looked for here.
    let mut seen = [false; 2];
    for seed in 0..SEEDS {
        let bench = Bench::new(&[("step", STEP), ("hasty", HASTY)], seed);
        let mut options = bench.device.options();
        options.checks.races = false;
        bench.device.set_options(options);
        let slow = "griddepcontrol.launch_dependents;
            mov.u32 %r3, 0;
            LOOP: add.u32 %r3, %r3, 1;
            nanosleep.u32 10;
            setp.lt.u32 %p0, %r3, 200;
            @%p0 bra LOOP;
            mov.u32 %r2, 7;
            st.global.u32 [%to], %r2;";
        let text = format!(".version 8.8\n.target sm_90\n.address_size 64\n{}", kernel("slow", slow));
        let slow = bench.device.load_module(&text).unwrap().kernel("slow").unwrap();
        let mut parameters = bench.buffers[0].to_le_bytes().to_vec();
        parameters.extend(bench.buffers[1].to_le_bytes());
        bench.stream.launch(&slow, &bench.config, &parameters).unwrap();
        bench.launch("hasty", 1, 2);
        bench.stream.synchronize().unwrap();
        let late = bench.words(2).iter().all(|word| *word == 8);
        seen[usize::from(late)] = true;
        assert!(!(late && seed == 0), "seed 0 starts early");
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn without_the_attribute_nothing_overlaps() {
    for seed in 0..SEEDS {
        let bench = Bench::new(&[("step", STEP), ("hasty", HASTY)], seed);
        bench.launch("step", 0, 1);
        bench.launch_as("hasty", 1, 2, bench.config.programmatic(false));
        bench.launch_as("hasty", 2, 3, bench.config.programmatic(false));
        bench.stream.synchronize().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bench.words(3), [3; WORDS]);
        // Nor where something else is between them.
        let bench = Bench::new(&[("step", STEP), ("hasty", HASTY)], seed);
        bench.launch("step", 0, 1);
        bench.stream.copy(bench.buffers[3], bench.buffers[1], 4 * WORDS as u64).unwrap();
        bench.launch("hasty", 1, 2);
        bench.stream.synchronize().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bench.words(2), [2; WORDS]);
    }
}

#[test]
fn a_wait_counts_for_those_that_are_synchronised_with() {
    let one_waits = |barrier: &str| {
        format!(
            "griddepcontrol.launch_dependents;
             mov.u32 %r3, %tid.x;
             setp.eq.u32 %p0, %r3, 0;
             @%p0 griddepcontrol.wait;
             {barrier}
             ld.global.u32 %r2, [%from];
             add.u32 %r2, %r2, 1;
             st.global.u32 [%to], %r2;"
        )
    };
    for seed in 0..SEEDS {
        let body = one_waits("bar.sync 0;");
        let bench = Bench::new(&[("step", &body)], seed);
        bench.launch("step", 0, 1);
        bench.launch("step", 1, 2);
        bench.launch("step", 2, 3);
        bench.stream.synchronize().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bench.words(3), [3; WORDS]);
        let body = one_waits("");
        let bench = Bench::new(&[("step", &body)], seed);
        bench.launch("step", 0, 1);
        bench.launch("step", 1, 2);
        assert_eq!(bench.violation().kind, ViolationKind::GlobalRace);
    }
}

#[test]
fn what_a_grid_knew_when_it_let_the_next_one_start_has_happened() {
    // The second waits for the first before it lets the third start: that reads what the first wrote, at once.
    let careful = "griddepcontrol.wait;
        griddepcontrol.launch_dependents;
        mov.u32 %r2, 5;
        st.global.u32 [%to], %r2;";
    for seed in 0..SEEDS {
        let bench = Bench::new(&[("step", STEP), ("careful", careful), ("hasty", HASTY)], seed);
        bench.launch("step", 0, 1);
        bench.launch("careful", 0, 2);
        bench.launch("hasty", 1, 3);
        bench.stream.synchronize().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((bench.words(2), bench.words(3)), (vec![5; WORDS], vec![2; WORDS]));
        // If it does not, the first may still run.
        let bench = Bench::new(&[("step", STEP), ("hasty", HASTY)], seed);
        bench.launch("step", 0, 1);
        bench.launch("hasty", 2, 2);
        bench.launch("hasty", 1, 3);
        assert_eq!(bench.violation().kind, ViolationKind::GlobalRace);
    }
}

#[test]
fn a_grid_that_lets_nobody_start_does_so_at_its_end() {
    let plain = "mov.u32 %r2, 3;\nst.global.u32 [%to], %r2;";
    for seed in 0..SEEDS {
        let bench = Bench::new(&[("plain", plain), ("step", STEP), ("hasty", HASTY)], seed);
        bench.launch("plain", 0, 1);
        bench.launch("step", 1, 2);
        bench.stream.synchronize().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bench.words(2), [4; WORDS]);
        // That it has ended says nothing of what it wrote.
        bench.launch("plain", 0, 1);
        bench.launch("hasty", 1, 2);
        assert_eq!(bench.violation().kind, ViolationKind::GlobalRace);
    }
}

#[test]
fn the_kernel_that_fails_is_named_and_those_before_it_are_reported() {
    let stray = "griddepcontrol.wait;\nst.global.u32 [%to+8192], %t;";
    for seed in 0..SEEDS {
        let bench = Bench::new(&[("step", STEP), ("stray", stray)], seed);
        bench.launch("step", 0, 1);
        bench.launch("stray", 1, 2);
        bench.launch("step", 2, 3);
        let violation = bench.violation();
        assert_eq!(violation.kind, ViolationKind::OutOfBounds);
        assert_eq!((violation.kernel.as_str(), violation.seed), ("stray", seed));
        let reports = bench.stream.synchronize().unwrap();
        assert_eq!(reports.iter().map(|report| report.kernel.as_str()).collect::<Vec<_>>(), ["step"]);
    }
}

#[test]
fn grids_share_the_room_of_the_device() {
    // Blocks that fill the device and wait for each other, in both grids.
    let meet = "griddepcontrol.launch_dependents;
        griddepcontrol.wait;
        mov.u32 %r3, %tid.x;
        setp.ne.u32 %p0, %r3, 0;
        @%p0 exit;
        atom.add.release.gpu.global.u32 %r4, [%out], 1;
        WAIT: ld.acquire.gpu.global.u32 %r5, [%out];
        setp.lt.u32 %p1, %r5, 132;
        @%p1 bra WAIT;";
    for seed in [0, 1, 2, 3] {
        let bench = Bench::new(&[("meet", meet)], seed);
        let config = LaunchConfig::new([132, 1, 1], [64, 1, 1]).dynamic_shared_bytes(200 << 10);
        bench.launch_as("meet", 0, 1, config.programmatic(true));
        bench.launch_as("meet", 0, 2, config.programmatic(true));
        bench.stream.synchronize().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((bench.words(1)[0], bench.words(2)[0]), (132, 132));
    }
}

#[test]
fn alone_a_grid_depends_on_nothing() {
    let bench = Bench::new(&[("step", STEP)], 0);
    bench.launch("step", 0, 1);
    let counters = bench.stream.synchronize().unwrap().remove(0).counters;
    assert_eq!((counters.waits, bench.words(1)), (0, vec![1; WORDS]));
}
