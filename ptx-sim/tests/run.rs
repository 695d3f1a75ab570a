//! Runs kernels of PTX text.

use ptx_sim::{
    ComputeCapability, Device, DeviceProperties, Error, LaunchConfig, Report, RunOptions, Violation,
    ViolationKind,
};

/// A kernel that takes pointers to one input and one output buffer of 32-bit words.
pub struct Run<'a> {
    /// Registers and instructions of the kernel's body. `%in` and `%out` hold the buffers' addresses (64 bits).
    pub body: &'a str,
    pub grid: u32,
    pub block: u32,
    /// Blocks of a cluster.
    pub cluster: u32,
    pub seed: u64,
    pub target: &'a str,
    pub device: ComputeCapability,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            body: "",
            grid: 1,
            block: 32,
            cluster: 1,
            seed: 0,
            target: "sm_80",
            device: ComputeCapability::Sm80,
        }
    }
}

/// Module text around a kernel's body.
pub fn module(target: &str, body: &str) -> String {
    format!(
        ".version 8.8\n.target {target}\n.address_size 64\n\
         .visible .entry kernel(.param .u64 input, .param .u64 output) {{\n\
         .reg .b64 %in, %out;\n\
         ld.param.u64 %in, [input];\nld.param.u64 %out, [output];\n{body}\nret;\n}}\n"
    )
}

impl Run<'_> {
    /// Runs the kernel; its output, and the launch's report.
    pub fn try_run(&self, input: &[u32], output_words: usize) -> Result<(Vec<u32>, Report), Error> {
        let device = Device::new(DeviceProperties::of(self.device));
        let mut options = RunOptions::default();
        options.seed = self.seed;
        options.max_instructions = Some(10_000_000);
        device.set_options(options);
        let module = device.load_module(&module(self.target, self.body))?;
        let kernel = module.kernel("kernel")?;
        let bytes: Vec<u8> = input.iter().flat_map(|word| word.to_le_bytes()).collect();
        let source = device.allocate(bytes.len().max(4) as u64)?;
        device.write(source, &bytes)?;
        let target = device.allocate(4 * output_words.max(1) as u64)?;
        let mut parameters = source.to_le_bytes().to_vec();
        parameters.extend(target.to_le_bytes());
        let stream = device.create_stream();
        let config = LaunchConfig::new([self.grid, 1, 1], [self.block, 1, 1]).cluster([self.cluster, 1, 1]);
        stream.launch(&kernel, &config, &parameters)?;
        let report = stream.synchronize()?.remove(0);
        let totals = device.totals();
        assert_eq!((totals.launches, totals.instructions), (1, report.counters.instructions));
        let mut read = vec![0; 4 * output_words];
        device.read(target, &mut read)?;
        let words = read.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        Ok((words.collect(), report))
    }

    /// Runs a kernel that does nothing wrong.
    pub fn output(&self, input: &[u32], output_words: usize) -> Vec<u32> {
        match self.try_run(input, output_words) {
            Ok((output, _)) => output,
            Err(error) => panic!("{error}\n{}", self.body),
        }
    }

    /// Runs a kernel that breaks a rule.
    pub fn violation(&self, input: &[u32], output_words: usize) -> Box<Violation> {
        match self.try_run(input, output_words) {
            Err(Error::Violation(violation)) => violation,
            Err(error) => panic!("{error}\n{}", self.body),
            Ok(_) => panic!("nothing was reported for\n{}", self.body),
        }
    }

    /// Requires that a kernel is reported for just this.
    pub fn expect(&self, kind: ViolationKind, input: &[u32], output_words: usize) -> Box<Violation> {
        let violation = self.violation(input, output_words);
        assert_eq!(violation.kind, kind, "{violation}");
        violation
    }
}

/// The value that each of `count` threads leaves in `%r0`, stored at its index in the block. `body` computes it; it has
/// `%t` and may use `%r<20>`, `%p<10>`, `%rd<10>`, `%f<10>`.
pub fn per_thread(body: &str) -> String {
    format!(
        ".reg .b32 %r<20>, %t;\n.reg .pred %p<10>;\n.reg .b64 %rd<10>;\n.reg .f32 %f<10>;\n.reg .b64 %address;\n\
         mov.u32 %t, %tid.x;\nmov.u32 %r0, 0;\n{body}\n\
         mul.wide.u32 %address, %t, 4;\nadd.s64 %address, %address, %out;\nst.global.u32 [%address], %r0;"
    )
}

/// What each thread of one warp leaves in `%r0`.
pub fn warp(body: &str) -> Vec<u32> {
    Run { body: &per_thread(body), ..Run::default() }.output(&[], 32)
}
