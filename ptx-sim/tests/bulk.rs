//! Bulk copies: what they move, when others may know of it, and what is reported.

mod bytes;
mod clusters;
mod tensors;
mod wrong;

use ptx_sim::{
    ComputeCapability, Device, DeviceProperties, Error, LaunchConfig, Report, RunOptions, TensorMap,
    Violation, ViolationKind,
};

/// Seeds under which every kernel runs: with 0 copies complete as late as is legal, with others early or late.
const SEEDS: std::ops::Range<u64> = 0..6;

/// A kernel of one cluster of `blocks` blocks of 64 threads. Its parameters are the addresses of an input and of an output
/// (`%in`, `%out`), and `map`. It has registers `%r<20>`, `%rd<20>`, `%p<10>`, `%h<4>`; the thread's number `%t`, `%first` of
/// thread 0, and `%rank` of the block; 8 KiB of shared memory `tile`, aligned to 1024, whose address is `%tile`; and mbarriers
/// `bar`, the first of which is initialised for one arrival.
struct Kernel<'a> {
    body: &'a str,
    blocks: u32,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Races are not looked for.
    racy: bool,
    /// Nothing is written to the input.
    reserved: bool,
    /// Of the tensor map, given the addresses of input and output.
    map: Option<&'a dyn Fn(u64, u64) -> TensorMap>,
    target: &'a str,
}

impl Default for Kernel<'_> {
    fn default() -> Self {
        let input = (0..4096u32).map(|byte| (byte * 7 + byte / 256) as u8).collect();
        Self {
            body: "",
            blocks: 1,
            input,
            output: vec![0xee; 4096],
            racy: false,
            reserved: false,
            map: None,
            target: "sm_90a",
        }
    }
}

/// Waits until the first mbarrier has completed its phase of parity 0.
const WAIT: &str = "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p9, [bar], 0;\n@!%p9 bra WAIT;\n";

/// Copies so many bytes of `tile` to the output, 64 at a time.
fn dump(bytes: usize) -> String {
    let mut text =
        String::from("add.u32 %r18, %tile, %t;\ncvt.u64.u32 %rd18, %t;\nadd.s64 %rd18, %rd18, %out;\n");
    for at in (0..bytes).step_by(64) {
        text += &format!("ld.shared.u8 %h3, [%r18+{at}];\nst.global.u8 [%rd18+{at}], %h3;\n");
    }
    text
}

/// Fills so many bytes of `tile` from the input, 64 at a time, and lets the asynchronous proxy see it.
fn fill(bytes: usize) -> String {
    let mut text =
        String::from("add.u32 %r18, %tile, %t;\ncvt.u64.u32 %rd18, %t;\nadd.s64 %rd18, %rd18, %in;\n");
    for at in (0..bytes).step_by(64) {
        text += &format!("ld.global.u8 %h3, [%rd18+{at}];\nst.shared.u8 [%r18+{at}], %h3;\n");
    }
    text + "fence.proxy.async.shared::cta;\nbar.sync 0;\n"
}

impl Kernel<'_> {
    fn module(&self) -> String {
        format!(
            ".version 8.8\n.target {}\n.address_size 64\n.visible .entry kernel(.param .u64 input, .param .u64 output, \
             .param .align 64 .b8 map[128]) {{\n.shared .align 1024 .b8 tile[8192];\n.shared .align 8 .b64 bar[4];\n\
             .reg .b64 %in, %out, %map, %rd<20>;\n.reg .b32 %t, %tile, %rank, %r<20>;\n.reg .b16 %h<4>;\n\
             .reg .pred %first, %p<10>;\nld.param.u64 %in, [input];\nld.param.u64 %out, [output];\n\
             mov.b64 %map, map;\ncvta.param.u64 %map, %map;\nmov.u32 %t, %tid.x;\nmov.u32 %tile, tile;\n\
             mov.u32 %rank, %cluster_ctarank;\nsetp.eq.u32 %first, %t, 0;\n\
             @%first mbarrier.init.shared::cta.b64 [bar], 1;\n@%first fence.mbarrier_init.release.cluster;\n\
             bar.sync 0;\n{}\nret;\n}}\n",
            self.target, self.body
        )
    }

    fn try_run(&self, seed: u64) -> Result<(Vec<u8>, Report), Error> {
        let device = Device::new(DeviceProperties::of(ComputeCapability::Sm90));
        let mut options = RunOptions::default();
        options.seed = seed;
        options.max_instructions = Some(1_000_000);
        options.checks.races = !self.racy;
        device.set_options(options);
        let kernel = device.load_module(&self.module())?.kernel("kernel")?;
        let (input, output) =
            (device.allocate(self.input.len() as u64)?, device.allocate(self.output.len() as u64)?);
        if !self.reserved {
            device.write(input, &self.input)?;
        }
        device.write(output, &self.output)?;
        let mut parameters = [input.to_le_bytes(), output.to_le_bytes()].concat();
        let at = kernel.parameters()[2].offset as usize;
        parameters.resize(at, 0);
        parameters.extend(self.map.map_or(Ok([0x5a; 128]), |map| map(input, output).encode())?);
        let mut config = LaunchConfig::new([self.blocks, 1, 1], [64, 1, 1]);
        config.cluster = [self.blocks, 1, 1];
        let stream = device.create_stream();
        stream.launch(&kernel, &config, &parameters)?;
        let report = stream.synchronize()?.remove(0);
        let mut bytes = vec![0; self.output.len()];
        device.read(output, &mut bytes)?;
        Ok((bytes, report))
    }

    /// Its output under every seed, which is always the same.
    fn output(&self) -> Vec<u8> {
        let outputs = SEEDS.map(|seed| match self.try_run(seed) {
            Ok((output, _)) => output,
            Err(error) => panic!("seed {seed}: {error}\n{}", self.body),
        });
        let outputs: Vec<_> = outputs.collect();
        assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]), "{}", self.body);
        outputs.into_iter().next().unwrap_or_default()
    }

    /// It is reported for the same under every seed.
    fn fails(&self, kind: ViolationKind, message: &str) -> Box<Violation> {
        let violations = SEEDS.map(|seed| match self.try_run(seed) {
            Err(Error::Violation(violation)) if violation.kind == kind => violation,
            other => panic!("seed {seed}: {kind} expected: {other:?}\n{}", self.body),
        });
        let violation = violations.collect::<Vec<_>>().pop().expect("a seed");
        assert!(violation.message.contains(message), "{violation}");
        violation
    }

    /// It does not load, for this reason.
    fn refused(&self, reason: &str) {
        match self.try_run(0) {
            Err(Error::Unsupported(list)) => assert!(list[0].reason.contains(reason), "{}", list[0]),
            other => panic!("{reason} expected: {other:?}"),
        }
    }
}
