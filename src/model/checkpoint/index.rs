//! `model.safetensors.index.json`: which file holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::safetensors::Header;
use crate::model::json::{DistinctMap, clip, parse};
use crate::{Error, Result};

/// The index of a checkpoint in several files.
#[derive(Debug)]
pub struct Index {
    /// File by tensor.
    weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// `total_size` and the like, which some tools compute wrongly.
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    weight_map: DistinctMap<String>,
}

impl Index {
    /// Larger than any index: that of 405B has 90 KB.
    pub const MAX_BYTES: u64 = 16 << 20;

    /// Parses an index; `file` is for errors. Files must be named by plain names that end in `.safetensors`:
    /// an index reaches into no other folder.
    pub fn parse(bytes: &[u8], file: &Path) -> Result<Self> {
        let Stored { weight_map: DistinctMap(weight_map), .. } = parse(bytes, file, "JSON")?;
        if weight_map.is_empty() {
            return Err(Error::malformed(file, "weight_map", "empty"));
        }
        for (tensor, shard) in &weight_map {
            let plain = !shard.starts_with('.') && !shard.contains(['/', '\\', ':', '\0']);
            if !plain || !shard.ends_with(".safetensors") {
                let problem =
                    format!("expected the name of a .safetensors file in this folder, got `{}`", clip(shard));
                return Err(Error::malformed(file, format!("tensor `{}`", clip(tensor)), problem));
            }
        }
        Ok(Index { weight_map })
    }

    /// The names of the files, sorted.
    pub fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// Checks that the files hold exactly the tensors that the index says; `file` is the index itself.
    pub(super) fn check(&self, file: &Path, shards: &BTreeMap<&str, &Header>) -> Result<()> {
        let wrong = |tensor: &str, problem: String| {
            Err(Error::malformed(file, format!("tensor `{}`", clip(tensor)), problem))
        };
        for (tensor, shard) in &self.weight_map {
            if !shards.get(shard.as_str()).is_some_and(|header| header.tensors.contains_key(tensor)) {
                return wrong(tensor, format!("said to be in {shard}, which does not hold it"));
            }
        }
        for (shard, header) in shards {
            for tensor in header.tensors.keys() {
                match self.weight_map.get(tensor) {
                    Some(said) if said == shard => {}
                    Some(said) => {
                        return wrong(tensor, format!("said to be in {said}, but is in {shard} too"));
                    }
                    None => return wrong(tensor, format!("in {shard}, but not in the index")),
                }
            }
        }
        Ok(())
    }
}
