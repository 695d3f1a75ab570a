//! What the commands find out, as JSON lines: one object a line, told apart by `kind`. Whoever writes results and whoever
//! reads them (the report, the README's tables) has these definitions; the documentation is docs/benchmarks.md.
//!
//! Times are microseconds, rates decimal (1 GB/s is 1e9 bytes a second), and everything was measured by the run that the last
//! [`Run`] before it describes.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A program starts: which, where.
    Run(Run),
    /// What the device reaches with kernels that do nothing else.
    Ceilings(Ceilings),
    /// An operation at a shape, without a time: what would be measured.
    Row(Row),
    /// An operation at a shape, timed.
    Kernel(Kernel),
    /// A whole forward pass, timed.
    Step(Step),
    /// An operation at a shape, counted by the simulated GPU.
    Counters(Counters),
    /// An operation compared with the CPU reference.
    Check(Check),
    /// An operation beside other libraries' in one process.
    Peers(Peers),
}

impl Record {
    /// Reads a line; `None` for the lines of others, such as the answers of probes.
    pub fn parse(line: &str) -> serde_json::Result<Option<Self>> {
        const KINDS: [&str; 8] = ["run", "ceilings", "row", "kernel", "step", "counters", "check", "peers"];
        #[derive(Deserialize)]
        struct Tag {
            #[serde(default)]
            kind: String,
        }
        // Not by way of a `Value`, which would sort the names of sizes.
        let tag: Tag = serde_json::from_str(line)?;
        KINDS.contains(&tag.kind.as_str()).then(|| serde_json::from_str(line)).transpose()
    }
}

/// Where and by what results were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `bench`, `check`, `peers`.
    pub command: String,
    /// Of this library.
    pub version: String,
    /// Of this library's repository, with `-dirty` behind it where files had changed; `unknown` outside of one.
    pub commit: String,
    /// UTC, `2026-01-31T23:59:59Z`.
    pub date: String,
    pub device: Device,
}

/// A GPU, or a simulated one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// What NVIDIA calls it.
    pub name: String,
    pub simulated: bool,
    /// `9.0`.
    pub compute_capability: String,
    pub num_sms: u32,
    /// What follows is `None` where nobody says.
    pub memory_bytes: Option<u64>,
    pub l2_bytes: Option<u64>,
    /// By the memory's clock and the width of its bus.
    pub memory_bytes_per_second: Option<f64>,
    /// `580.159.03`.
    pub driver: Option<String>,
    /// The CUDA version that the driver supports.
    pub driver_cuda: Option<String>,
    /// The CUDA version of the compiler that made the kernels.
    pub kernels_cuda: Option<String>,
    pub clocks: Option<Clocks>,
}

/// A GPU's clocks as its driver reports them while it computes, in MHz, and its power limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clocks {
    pub sm: u32,
    pub memory: u32,
    pub max_sm: u32,
    pub max_memory: u32,
    pub power_limit_watts: f64,
    pub temperature_celsius: f64,
}

/// Measured in the same run as what follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Element type that the tensor cores multiplied.
    pub dtype: String,
    /// Bytes read plus bytes written of a copy.
    pub copy_gigabytes_per_second: f64,
    /// Bytes of a kernel that only reads.
    pub read_gigabytes_per_second: f64,
    /// Of a kernel that does nothing but multiply on tensor cores, from registers and shared memory.
    pub tensor_teraflops_per_second: f64,
    /// The kernel that reached it.
    pub tensor_kernel: String,
    /// One empty kernel in a graph of many.
    pub launch_microseconds: f64,
}

/// An operation at a shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub op: String,
    /// The model, and which of its operations where there are several; may be left out of files of shapes.
    #[serde(default)]
    pub label: String,
    /// `bf16` or `f16`.
    #[serde(default)]
    pub dtype: String,
    pub sizes: Sizes,
    /// What it costs at least: see the crate's `cost`.
    #[serde(default)]
    pub flops: u64,
    #[serde(default)]
    pub bytes: u64,
    /// Of these bytes, those that are written.
    #[serde(default)]
    pub bytes_written: u64,
    /// Kernel, tile, splits and the reason for them, one line a launch.
    #[serde(default)]
    pub plan: Vec<String>,
}

/// A row and its time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    #[serde(flatten)]
    pub row: Row,
    /// The median over the replays of a graph, for one call.
    pub microseconds: f64,
    /// The 10th and the 90th percentile.
    pub low_microseconds: f64,
    pub high_microseconds: f64,
    /// Calls in a graph, each on operands of its own.
    pub calls: usize,
    /// Replays that were timed.
    pub replays: usize,
    pub teraflops_per_second: f64,
    pub gigabytes_per_second: f64,
    /// The least time that this device could take, by its [`Ceilings`].
    pub roofline_microseconds: f64,
    /// `memory` or `tensor cores`: which of the ceilings that is.
    pub bound: String,
    /// `roofline_microseconds / microseconds * 100`.
    pub percent_of_roofline: f64,
}

/// A forward pass and its time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `decode` (one token a sequence) or `prefill` (all tokens of the prompts).
    pub phase: String,
    /// `llama-3.1-8b`.
    pub model: String,
    pub dtype: String,
    /// `native`, `int4`, `fp8`.
    pub weights: String,
    /// `native`, `fp8`.
    #[serde(default = "native")]
    pub kv_cache: String,
    pub batch: usize,
    /// Tokens of each sequence in the cache before a decode; tokens of each prompt of a prefill.
    pub context: usize,
    /// The median of a step, from its inputs on the host to its tokens there: a decode's time per token, a prefill's time to
    /// the first token.
    pub microseconds: f64,
    pub low_microseconds: f64,
    pub high_microseconds: f64,
    pub steps: usize,
    /// Of all sequences together: new tokens of a decode, prompt tokens of a prefill.
    pub tokens_per_second: f64,
    pub flops: u64,
    /// Weights and cache read once.
    pub bytes: u64,
    /// The least time, by the [`Ceilings`]: of a decode that of reading `bytes`.
    pub floor_microseconds: f64,
    pub percent_of_floor: f64,
}

fn native() -> String {
    "native".into()
}

impl Step {
    /// What the model is held in: `int4, fp8 cache`.
    pub fn formats(&self) -> String {
        let Step { weights, kv_cache, .. } = self;
        if *kv_cache == native() { weights.clone() } else { format!("{weights}, {kv_cache} cache") }
    }
}

/// What the simulated GPU counted in one call of a row. None of it is a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    #[serde(flatten)]
    pub row: Row,
    pub launches: usize,
    /// Distinct bytes of global memory.
    pub touched_bytes: u64,
    /// Bytes that were asked of the memory system.
    pub issued_bytes: u64,
    pub tensor_flops: u64,
    /// Warp instructions, and the same by class.
    pub instructions: u64,
    pub instructions_by_class: Sizes,
    pub shared_wavefronts: u64,
    pub bank_conflicts: u64,
    /// Times that a warp came to a barrier.
    pub barriers: u64,
    /// Predicted, not measured: `memory` or `tensor cores`, and the least time on the device that is named.
    pub bound: String,
    pub bound_microseconds: f64,
    pub bound_device: String,
}

/// What came of an operation's cases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub op: String,
    pub cases: usize,
    pub passed: usize,
    pub skipped: usize,
    pub failed: usize,
    /// The largest part of its bound that an element's error takes up; `None` where all results are exact.
    pub worst_share: Option<f64>,
    /// The case of that element, and where it is.
    pub worst_case: Option<String>,
    pub worst_place: Option<String>,
    /// Why cases failed.
    pub failures: Vec<String>,
    pub seconds: f64,
}

/// An operation beside others, timed in turns in one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    #[serde(flatten)]
    pub row: Row,
    pub ours_microseconds: f64,
    /// The largest difference between our output and the first peer's, relative to the largest element.
    pub difference: Option<f64>,
    pub peers: Vec<Peer>,
    /// The time of the fastest peer over ours: above 1 we are faster. `None` without a peer.
    pub speedup: Option<f64>,
}

/// Another implementation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// `torch.matmul`, with the version of its library.
    pub name: String,
    /// `None` where it failed; the note says how.
    pub microseconds: Option<f64>,
    #[serde(default)]
    pub note: String,
}

/// Numbers by name, in an order of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sizes(pub Vec<(String, u64)>);

impl fmt::Display for Sizes {
    /// `tokens=8 hidden=4096`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, size)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={size}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, size) in &self.0 {
            map.serialize_entry(name, size)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Sizes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sizes, A::Error> {
                let mut sizes = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    sizes.push(entry);
                }
                Ok(Sizes(sizes))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The geometric mean; `None` of nothing.
pub fn geometric_mean(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) =
        numbers.into_iter().fold((0.0, 0), |(sum, count), number| (sum + number.ln(), count + 1));
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

/// What belongs together, such as all rows of an operation, in the order in which the first of each came.
pub fn grouped_by<'a, T, K: PartialEq>(all: &[&'a T], key: impl Fn(&'a T) -> K) -> Vec<(K, Vec<&'a T>)> {
    let mut groups: Vec<(K, Vec<&'a T>)> = Vec::new();
    for &one in all {
        let key = key(one);
        match groups.iter_mut().find(|(of, _)| *of == key) {
            Some((_, group)) => group.push(one),
            None => groups.push((key, vec![one])),
        }
    }
    groups
}
