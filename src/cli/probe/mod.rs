//! `llama-kernels probe`: small kernels that show how a device computes, and a file of what it answered. The simulated GPU
//! is held against files that cards wrote.

mod bulk;
mod cluster;
mod inputs;
mod layout;
mod memory;
mod mma;
mod scalar;
mod source;
mod tensor;
mod warp;
mod wgmma;

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result, bail};
use llama_kernels::gpu::{Device, EncodedTensorMap, Grid, Stream, driver_version};

use super::options::ProbeArgs;
use inputs::fnv1a64;

/// A kernel `(const uint32_t* in, uint32_t* out)`: thread `i < n` of a one-dimensional grid reads the words `in_words * i ..`
/// of `in` and writes the words `out_words * i ..` of `out`. All blocks are whole.
pub struct Probe {
    /// What is probed, such as `ex2.approx.ftz.f32`; it stands for the probe in files, so it never changes its meaning.
    pub name: String,
    /// The module's text.
    pub ptx: String,
    /// The kernel's name.
    pub kernel: &'static str,
    /// Threads: a multiple of `block`.
    pub n: u32,
    /// Threads of a block.
    pub block: u32,
    /// Words that a thread reads.
    pub in_words: u32,
    /// Words that a thread writes.
    pub out_words: u32,
    /// What the threads read.
    pub inputs: Inputs,
    /// The oldest compute capability that has the instruction.
    pub needs: (u32, u32),
    /// No newer one has it.
    pub only: bool,
    /// A third argument of the kernel, a tensor map.
    pub tensor_map: Option<bulk::Map>,
}

/// What the threads of a probe read.
pub enum Inputs {
    /// Drawn: see [`inputs::inputs`].
    Kinds {
        /// One kind an operand.
        kinds: String,
        /// Where the generator starts.
        seed: u64,
    },
    /// Made by hand; the file of answers has them too.
    Words(Vec<u32>),
}

impl Inputs {
    /// All words.
    fn words(&self, n: u32) -> Result<Cow<'_, [u32]>> {
        match self {
            Inputs::Kinds { kinds, seed } => {
                let words = inputs::inputs(kinds, *seed, n as usize);
                Ok(words.with_context(|| format!("unknown kinds of inputs: {kinds}"))?.into())
            }
            Inputs::Words(words) => Ok(words.into()),
        }
    }

    fn words_per_thread(&self, n: u32) -> u32 {
        match self {
            Inputs::Kinds { kinds, .. } => inputs::words_of(kinds) as u32,
            Inputs::Words(words) => words.len() as u32 / n,
        }
    }
}

/// All probes.
fn probes() -> Vec<Probe> {
    [
        scalar::probes(),
        warp::probes(),
        memory::probes(),
        layout::probes(),
        tensor::probes(),
        wgmma::probes(),
        bulk::probes(),
        cluster::probes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One JSON object a probe; an error if a probe failed, after all have run.
pub fn run(args: &ProbeArgs) -> Result<()> {
    let device = Device::open(args.device).with_context(|| format!("--device {}", args.device))?;
    let named = || format!("--out {}", args.out.display());
    let mut file = OpenOptions::new().create(true).append(true).open(&args.out).with_context(named)?;
    let stream = device.new_stream()?;
    let (mut failed, mut run) = (0, 0);
    for probe in probes() {
        let capability = device.properties().compute_capability;
        if capability < probe.needs || probe.only && capability != probe.needs {
            continue;
        }
        let mut line = describe(&probe, &device)?;
        match answer(&probe, &device, &stream) {
            Ok(words) => {
                line["output"] = base64(&words).into();
                run += 1;
            }
            Err(error) => {
                failed += 1;
                eprintln!("{}: {error}", probe.name);
                line["error"] = error.to_string().into();
            }
        }
        // One write a line: a program that is killed leaves whole lines behind.
        file.write_all((serde_json::to_string(&line)? + "\n").as_bytes()).with_context(named)?;
    }
    println!("{run} probes on {} written to {}", device.properties().name, args.out.display());
    if failed > 0 {
        bail!("{failed} probes failed");
    }
    Ok(())
}

/// What a probe is and where it runs.
fn describe(probe: &Probe, device: &Device) -> Result<serde_json::Value> {
    let properties = device.properties();
    let (major, minor) = properties.compute_capability;
    let words = probe.inputs.words(probe.n)?;
    let mut line = serde_json::json!({
        "probe": probe.name,
        "device": properties.name,
        "compute_capability": format!("{major}.{minor}"),
        "ptx": probe.ptx,
        "kernel": probe.kernel,
        "n": probe.n,
        "block": probe.block,
        "in_words": probe.in_words,
        "out_words": probe.out_words,
        "inputs_fnv1a64": format!("{:016x}", fnv1a64(words.iter().flat_map(|word| word.to_le_bytes()))),
    });
    match &probe.inputs {
        Inputs::Kinds { kinds, seed } => {
            line["kinds"] = kinds.as_str().into();
            line["seed"] = (*seed).into();
        }
        Inputs::Words(words) => line["input"] = base64(words).into(),
    }
    if let Some(map) = &probe.tensor_map {
        line["tensor_map"] = map.json();
    }
    if !device.is_simulated() {
        line["cuda"] = driver_version()?.to_string().into();
        // Linux says the driver's own number here.
        let version = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
        line["driver"] = version.lines().next().unwrap_or("unknown").into();
    }
    Ok(line)
}

/// Runs a probe and gives the words that it wrote; a word that it did not write is 0xDEADBEEF.
fn answer(probe: &Probe, device: &Device, stream: &Stream) -> Result<Vec<u32>> {
    let (n, out_words) = (probe.n as usize, probe.out_words as usize);
    let words = probe.inputs.words(probe.n)?;
    let mut input = device.allocate(words.len() * 4)?;
    input.write(0, bytemuck::cast_slice(&words))?;
    let mut answer = vec![0xDEAD_BEEF_u32; n * out_words];
    let mut output = device.allocate(n * out_words * 4)?;
    output.write(0, bytemuck::cast_slice(&answer))?;

    let function = device.load_ptx(&probe.ptx)?.function(probe.kernel)?;
    let grid =
        Grid { blocks: [probe.n / probe.block, 1, 1], threads: [probe.block, 1, 1], dynamic_shared_bytes: 0 };
    let arguments = [input.address().to_le_bytes(), output.address().to_le_bytes()];
    let map = match &probe.tensor_map {
        Some(map) => Some(device.encode_tensor_map(&map.of(input.address(), output.address()))?),
        None => None,
    };
    let mut arguments: Vec<&[u8]> = arguments.iter().map(|address| &address[..]).collect();
    arguments.extend(map.as_ref().map(EncodedTensorMap::as_bytes));
    // SAFETY: a probe takes these arguments and stays within the words that it says it reads and writes; the buffers
    // outlive the launch, which is waited for.
    unsafe { stream.launch_function(&function, &grid, &arguments)? };
    stream.synchronize()?;
    output.read(0, bytemuck::cast_slice_mut(&mut answer))?;
    Ok(answer)
}

/// The bytes of words, the lowest first, as base64 (RFC 4648).
fn base64(words: &[u32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut bits = [0; 3];
        bits[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, bits[0], bits[1], bits[2]]);
        for digit in 0..4 {
            let padding = digit > chunk.len();
            text.push(if padding { '=' } else { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of cards hold answers to these inputs.
    #[test]
    fn inputs_never_change() {
        assert_eq!(fnv1a64(b"foobar".iter().copied()), 0x8594_4171_F739_67E8);
        assert_eq!(
            inputs::inputs("raw*4", 1, 1).unwrap(),
            [0xDC1B_77AE, 0x64F0_EEB9, 0x7B07_CE91, 0x305F_050C]
        );
        let all = inputs::inputs("raw i16 i32 i64 f16 bf16 f32 f64 i16x2 f16x2 bf16x2", 1, 1000).unwrap();
        assert_eq!(all.len(), 13_000);
        assert_eq!(fnv1a64(all.iter().flat_map(|word| word.to_le_bytes())), 0xAC10_CC38_5387_921D);
        assert_ne!(
            all,
            inputs::inputs("raw i16 i32 i64 f16 bf16 f32 f64 i16x2 f16x2 bf16x2", 2, 1000).unwrap()
        );
        assert_eq!(inputs::inputs("f8", 1, 1), None);
    }

    #[test]
    fn words_are_base64() {
        assert_eq!(base64(&[]), "");
        assert_eq!(base64(&[u32::from_le_bytes(*b"Many")]), "TWFueQ==");
        assert_eq!(base64(&[u32::from_le_bytes(*b"Many"), u32::from_le_bytes(*b" han")]), "TWFueSBoYW4=");
        assert_eq!(base64(&[0xFFFF_FFFF, 0, 0x3E3F_0000]), "/////wAAAAAAAD8+");
    }

    #[test]
    fn probes_have_names_of_their_own() {
        let probes = probes();
        let mut names: Vec<_> = probes.iter().map(|probe| &probe.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), probes.len());
        for probe in &probes {
            assert!(probe.block <= 1024 && probe.n > 0 && probe.n % probe.block == 0, "{}", probe.name);
            assert!(probe.ptx.contains(&format!(".entry {}(", probe.kernel)), "{}", probe.name);
            let words = probe.inputs.words(probe.n).unwrap();
            assert_eq!(words.len() as u32, probe.n * probe.in_words, "{}", probe.name);
        }
    }
}
