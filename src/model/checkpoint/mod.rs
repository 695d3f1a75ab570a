//! Checkpoints: a folder of safetensors files with a `config.json`.
//!
//! Everything is checked when a folder is opened, before a weight is read: headers, the index, and that the
//! tensors of the configured model are there, in their shapes, and no others. File names in an index are
//! plain names; symbolic links are followed, because Hugging Face's download cache consists of them, and
//! whoever can put one into the folder can put any file there.

mod index;
mod manifest;
mod random;
mod safetensors;
mod shard;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::shard::Shard;
use super::config::Config;
use super::json::{clip, read_file_if_present};
use crate::tensor::{DType, HostTensor};
use crate::{Error, Result};

pub use self::index::Index;
pub use self::safetensors::{Header, TensorInfo};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";

/// The weights of a model folder; or random ones, without a folder.
#[derive(Debug)]
pub struct Checkpoint {
    config: Config,
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    tensors: BTreeMap<String, usize>,
    dtype: DType,
    weight_bytes: u64,
}

impl Checkpoint {
    /// Opens and checks a model folder. A weight is read from its file when it is asked for, so that no more
    /// than one copy is in memory.
    ///
    /// `model.safetensors` is taken where it exists, else the files that `model.safetensors.index.json`
    /// names: the precedence of transformers.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir.as_ref(), Shard::open)
    }

    /// As [`Checkpoint::open`], with the files mapped into memory instead of read.
    ///
    /// # Safety
    ///
    /// Nobody may change the files until the checkpoint and all its tensors are dropped: a file that gets
    /// shorter kills the process with SIGBUS, and bytes that change under a `&[u8]` are undefined behaviour.
    pub unsafe fn open_mmap(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir.as_ref(), |path| {
            // SAFETY: the caller keeps the files unchanged for as long as they are mapped.
            unsafe { Shard::map(path) }
        })
    }

    fn open_with(dir: &Path, open: impl Fn(PathBuf) -> Result<Shard>) -> Result<Self> {
        let config = Config::load(dir)?;
        let single = dir.join(SINGLE_FILE);
        let (shards, folder_part) = if single.exists() {
            (vec![open(single.clone())?], single)
        } else {
            let file = dir.join(INDEX_FILE);
            let bytes = read_file_if_present(&file, Index::MAX_BYTES)?.ok_or_else(|| no_weights(dir))?;
            let index = Index::parse(&bytes, &file)?;
            let names = index.files();
            let shards = names.iter().map(|name| open(dir.join(name))).collect::<Result<Vec<_>>>()?;
            index.check(&file, &names.into_iter().zip(shards.iter().map(|s| &s.header)).collect())?;
            (shards, file)
        };
        Self::of_shards(config, shards, &folder_part)
    }

    /// A checkpoint of random numbers that no file holds, to measure a model of this configuration; bf16 or f16. It takes as
    /// much memory as its largest tensor, of which the others are parts: each differs from all others, but a number of one is
    /// found in many.
    ///
    /// Activations stay finite and of ordinary size through any number of layers; what such a model says means nothing.
    pub fn random(config: Config, dtype: DType, seed: u64) -> Result<Self> {
        let shard = random::shard(&config, dtype, seed)?;
        let name = shard.path.clone();
        Self::of_shards(config, vec![shard], &name)
    }

    /// Checks the tensors; `file` is to blame for one that is missing.
    fn of_shards(config: Config, shards: Vec<Shard>, file: &Path) -> Result<Self> {
        let tensors: BTreeMap<_, _> = shards
            .iter()
            .enumerate()
            .flat_map(|(i, shard)| shard.header.tensors.keys().map(move |name| (name.clone(), i)))
            .collect();
        let infos = tensors
            .iter()
            .map(|(name, &i)| (name.as_str(), (&*shards[i].path, &shards[i].header.tensors[name])));
        let summary = manifest::check(&config, file, &infos.collect())?;
        Ok(Checkpoint { config, shards, tensors, dtype: summary.dtype, weight_bytes: summary.weight_bytes })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The element type of the embedding, which is that of the other weights in every published model.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes of the tensors that the configured model consists of.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Names of all tensors in the files (or of all random ones), sorted. There may be some that the model does not use:
    /// `lm_head.weight` of a tied model, and the frequencies that old conversions stored.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor by its name in Hugging Face's convention, as stored.
    pub fn tensor(&self, name: &str) -> Result<HostTensor> {
        let shard = self.tensors.get(name).map(|&i| &self.shards[i]);
        let Some((shard, info)) = shard.and_then(|shard| Some((shard, shard.header.tensors.get(name)?)))
        else {
            return Err(Error::argument("checkpoint", "name", "a tensor of the checkpoint", clip(name)));
        };
        let data = shard.read(name, info)?;
        Ok(HostTensor { name: name.to_owned(), dtype: info.dtype, shape: info.shape.clone(), data })
    }
}

/// What to say to a folder without safetensors files.
fn no_weights(dir: &Path) -> Error {
    let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"];
    if let Some(name) = pickled.iter().find(|name| dir.join(name).exists()) {
        return Error::unsupported(
            dir.join(name).display().to_string(),
            "pickled weights can run code when they are read; convert the model to safetensors",
        );
    }
    Error::malformed(dir, "weights", format!("neither {SINGLE_FILE} nor {INDEX_FILE} is there"))
}
