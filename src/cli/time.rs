//! `llama-kernels time`: how long each operation takes on a GPU, from cold memory.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use llama_kernels::Error;
use llama_kernels::cost::{self, Cost};
use llama_kernels::gpu::{Buffer, Device, Stream, TensorMut, TensorRef, driver_version};
use llama_kernels::ops;
use llama_kernels::tensor::{DType, Layout, View};

use super::options::TimeArgs;

/// Launches that are not timed.
const WARM_UP: usize = 10;
/// Launches that are timed; the median counts.
const LAUNCHES: usize = 100;
/// At the least so much is written between two launches, so that none finds its inputs in a cache.
const LEAST_FLUSH: usize = 64 << 20;
/// Bytes of random numbers that operands are filled with, over and over.
const PATTERN: usize = 16 << 20;
const TOKENS: [usize; 7] = [1, 8, 64, 256, 1024, 4096, 8192];
/// Llama 3.
const MODELS: [Model; 2] = [
    Model { name: "8B", hidden: 4096, intermediate: 14336 },
    Model { name: "70B", hidden: 8192, intermediate: 28672 },
];
const VOCABULARY: usize = 128_256;
const EPS: f32 = 1e-5;
const OPS: [Op; 4] = [Op::Embed, Op::RmsNorm, Op::AddRmsNorm, Op::SiluAndMul];

struct Model {
    name: &'static str,
    hidden: usize,
    intermediate: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Embed,
    RmsNorm,
    AddRmsNorm,
    SiluAndMul,
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Op::Embed => "embed",
            Op::RmsNorm => "rms_norm",
            Op::AddRmsNorm => "add_rms_norm",
            Op::SiluAndMul => "silu_and_mul",
        }
    }

    fn width(self, model: &Model) -> usize {
        if self == Op::SiluAndMul { model.intermediate } else { model.hidden }
    }

    fn cost(self, tokens: usize, width: usize) -> Cost {
        match self {
            Op::Embed => cost::embed(tokens, width),
            Op::RmsNorm => cost::rms_norm(tokens, width),
            Op::AddRmsNorm => cost::add_rms_norm(tokens, width),
            Op::SiluAndMul => cost::silu_and_mul(tokens, width),
        }
    }
}

/// One line of the table.
struct Row {
    op: Op,
    model: &'static str,
    tokens: usize,
    width: usize,
    microseconds: f64,
    gigabytes_per_second: f64,
}

pub fn run(args: &TimeArgs) -> Result<()> {
    let device = Device::open(args.device).with_context(|| format!("--device {}", args.device))?;
    let ops: Vec<Op> =
        OPS.into_iter().filter(|op| args.op.as_deref().is_none_or(|name| name == op.name())).collect();
    if ops.is_empty() {
        let given = args.op.as_deref().unwrap_or_default();
        bail!("--op: expected {}, got {given}", OPS.map(Op::name).join(", "));
    }
    // Refuses the simulated GPU.
    let (l2, bandwidth) = device.memory_system()?;
    let properties = device.properties();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}, driver for CUDA {}, memory of {:.0} GB/s by its clock, L2 of {:.0} MB; median of {LAUNCHES} launches, L2 flushed \
         before each",
        properties.name,
        driver_version()?,
        bandwidth / 1e9,
        l2 as f64 / 1e6
    )?;
    writeln!(
        out,
        "{:<13} {:>5} {:>6} {:>6} {:>10} {:>8} {:>12}",
        "operation", "model", "tokens", "width", "µs", "GB/s", "% of memory"
    )?;
    let mut bench = Bench::new(&device, l2)?;
    let mut rows = Vec::new();
    for op in ops {
        for model in &MODELS {
            let width = op.width(model);
            for tokens in TOKENS {
                let microseconds = match bench.median(op, tokens, width) {
                    Err(Error::OutOfMemory { bytes }) => {
                        let (op, model) = (op.name(), model.name);
                        writeln!(
                            out,
                            "{op:<13} {model:>5} {tokens:>6} {width:>6} no room for {bytes} bytes"
                        )?;
                        continue;
                    }
                    median => median?,
                };
                let gigabytes_per_second = op.cost(tokens, width).bytes as f64 / microseconds / 1e3;
                let share = percent(gigabytes_per_second, bandwidth);
                let share = share.map_or("-".to_string(), |share| format!("{share:.1}"));
                writeln!(
                    out,
                    "{:<13} {:>5} {tokens:>6} {width:>6} {microseconds:>10.2} {gigabytes_per_second:>8.0} {share:>12}",
                    op.name(),
                    model.name
                )?;
                rows.push(Row { op, model: model.name, tokens, width, microseconds, gigabytes_per_second });
            }
        }
    }
    match &args.json {
        Some(file) => write_json(file, &device, bandwidth, &rows),
        None => Ok(()),
    }
}

/// `None` where the memory's speed is not known.
fn percent(gigabytes_per_second: f64, bandwidth: f64) -> Option<f64> {
    (bandwidth > 0.0).then(|| gigabytes_per_second * 1e9 / bandwidth * 100.0)
}

fn write_json(file: &Path, device: &Device, bandwidth: f64, rows: &[Row]) -> Result<()> {
    let properties = device.properties();
    let (major, minor) = properties.compute_capability;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "op": row.op.name(),
                "dtype": "bf16",
                "model": row.model,
                "tokens": row.tokens,
                "width": row.width,
                "microseconds": row.microseconds,
                "gigabytes_per_second": row.gigabytes_per_second,
                "percent_of_memory": percent(row.gigabytes_per_second, bandwidth),
            })
        })
        .collect();
    let report = serde_json::json!({
        "device": properties.name,
        "compute_capability": format!("{major}.{minor}"),
        "driver_cuda": driver_version()?.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "memory_bytes_per_second": bandwidth,
        "launches": LAUNCHES,
        "rows": rows,
    });
    let text = serde_json::to_string_pretty(&report)? + "\n";
    std::fs::write(file, text).with_context(|| format!("--json {}", file.display()))
}

/// A stream, what is written to empty the caches, and what operands are full of.
struct Bench<'a> {
    device: &'a Device,
    stream: Stream,
    flush: Buffer,
    pattern: Vec<u8>,
}

impl<'a> Bench<'a> {
    fn new(device: &'a Device, l2: usize) -> Result<Self> {
        let flush = device.allocate((2 * l2).max(LEAST_FLUSH))?;
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = || {
            // Xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u16
        };
        // bf16 with signs and mantissas at random, magnitudes from 1 to 2: zeros would draw less power than real data.
        let pattern = (0..PATTERN / 2).flat_map(|_| (0x3F80 | random() & 0x807F).to_le_bytes()).collect();
        Ok(Bench { device, stream: device.new_stream()?, flush, pattern })
    }

    fn median(&mut self, op: Op, tokens: usize, width: usize) -> llama_kernels::Result<f64> {
        let operands = Operands::new(self.device, &self.pattern, op, tokens, width)?;
        for _ in 0..WARM_UP {
            operands.launch(&self.stream)?;
        }
        self.stream.synchronize()?;
        let bytes = self.flush.len();
        let mut events = Vec::new();
        for launch in 0..LAUNCHES {
            // While the flush runs, the launch behind it is queued: the host's own time is not measured.
            self.stream.fill(&mut self.flush, 0, bytes, launch as u8)?;
            let (start, end) = (self.device.new_event()?, self.device.new_event()?);
            start.record(&self.stream)?;
            operands.launch(&self.stream)?;
            end.record(&self.stream)?;
            events.push((start, end));
        }
        self.stream.synchronize()?;
        let times = events.iter().map(|(start, end)| start.microseconds_to(end));
        let mut times = times.collect::<llama_kernels::Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

/// The arguments of an operation, full of random bf16 numbers.
struct Operands {
    op: Op,
    tokens: usize,
    width: usize,
    /// In the order of the operation's arguments; ids first.
    buffers: Vec<Buffer>,
}

impl Operands {
    fn new(
        device: &Device,
        pattern: &[u8],
        op: Op,
        tokens: usize,
        width: usize,
    ) -> llama_kernels::Result<Self> {
        let (row, matrix) = (width * 2, tokens * width * 2);
        let sizes = match op {
            Op::Embed => vec![tokens * 4, VOCABULARY * row, matrix],
            Op::RmsNorm => vec![matrix, row, matrix],
            Op::AddRmsNorm => vec![matrix, matrix, row, matrix],
            Op::SiluAndMul => vec![2 * matrix, matrix],
        };
        let mut buffers = Vec::new();
        for (i, size) in sizes.into_iter().enumerate() {
            let mut buffer = device.allocate(size)?;
            if op == Op::Embed && i == 0 {
                // Rows all over the table, each once.
                let id = |token: usize| (token * 50_021 % VOCABULARY) as i32;
                buffer
                    .write(0, &(0..tokens).flat_map(|token| id(token).to_le_bytes()).collect::<Vec<u8>>())?;
            } else {
                for offset in (0..size).step_by(pattern.len()) {
                    buffer.write(offset, &pattern[..pattern.len().min(size - offset)])?;
                }
            }
            buffers.push(buffer);
        }
        Ok(Operands { op, tokens, width, buffers })
    }

    fn launch(&self, stream: &Stream) -> llama_kernels::Result<()> {
        let Operands { tokens, width, .. } = *self;
        let device = stream.device();
        let matrix = [tokens, width];
        let read = |i: usize, dtype: DType, shape: &[usize]| {
            let layout = Layout::contiguous(shape)?;
            TensorRef::new(View { buffer: &self.buffers[i], dtype, layout })
        };
        let write = |i: usize| {
            // SAFETY: the buffer holds the matrix and lives until the bench has waited for the stream; no other argument
            // is this buffer.
            unsafe {
                TensorMut::from_raw(device, self.buffers[i].address(), DType::BF16, &matrix, &[width, 1])
            }
        };
        let activation = |i: usize| read(i, DType::BF16, &matrix);
        match self.op {
            Op::Embed => {
                let ids = read(0, DType::I32, &[tokens])?;
                let table = read(1, DType::BF16, &[VOCABULARY, width])?;
                ops::embed(stream, &ops::Embed { ids, table, out: write(2)?, error: None })
            }
            Op::RmsNorm => {
                let weight = read(1, DType::BF16, &[width])?;
                ops::rms_norm(stream, &ops::RmsNorm { x: activation(0)?, weight, eps: EPS, out: write(2)? })
            }
            Op::AddRmsNorm => {
                let weight = read(2, DType::BF16, &[width])?;
                let (x, residual, out) = (activation(0)?, write(1)?, write(3)?);
                ops::add_rms_norm(stream, &ops::AddRmsNorm { x, residual, weight, eps: EPS, out })
            }
            Op::SiluAndMul => {
                let gate_up = read(0, DType::BF16, &[tokens, 2 * width])?;
                ops::silu_and_mul(stream, &ops::SiluAndMul { gate_up, out: write(1)? })
            }
        }
    }
}
