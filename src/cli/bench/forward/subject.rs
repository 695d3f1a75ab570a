//! The models whose passes are measured.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use llama_kernels::model::config::Config;

/// What is measured without `--model`.
const DEFAULT: &str = "llama-3.1-8b";

/// A model, by its configuration alone.
pub struct Subject {
    /// `llama-3.1-8b`, or a folder's name.
    pub name: String,
    pub config: Config,
}

impl Subject {
    /// Those of `--model`.
    pub fn all(names: &[String]) -> Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(vec![Subject::named(DEFAULT)?]);
        }
        names.iter().map(|name| Subject::named(name)).collect()
    }

    /// A published model, or that of a folder's `config.json`; nothing else in the folder is read.
    pub fn named(name: &str) -> Result<Self> {
        if let Some(config) = Config::preset(name) {
            return Ok(Subject { name: name.into(), config });
        }
        let folder = Path::new(name);
        if !folder.is_dir() {
            let known = Config::preset_names().collect::<Vec<_>>().join(", ");
            bail!("--model: expected {known}, or a folder with a config.json, got {name}");
        }
        let config = Config::load(folder).with_context(|| format!("--model {name}"))?;
        // Of `.` too.
        let folder = folder.canonicalize().with_context(|| format!("--model {name}"))?;
        let name = folder.file_name().ok_or_else(|| anyhow!("--model {name}: a folder without a name"))?;
        Ok(Subject { name: name.to_string_lossy().into_owned(), config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_published_ones_or_folders() {
        let all = Subject::all(&["llama-3.2-1b".into(), "assets/demo-model/".into()]).unwrap();
        let names: Vec<_> = all.iter().map(|subject| (&*subject.name, subject.config.hidden_size)).collect();
        assert_eq!(names, [("llama-3.2-1b", 2048), ("demo-model", 256)]);
        assert_eq!(Subject::all(&[]).unwrap()[0].name, DEFAULT);
        let error = |name| Subject::named(name).err().unwrap();
        let unknown = format!("{:#}", error("llama-9"));
        assert!(unknown.contains("llama-3.1-405b") && unknown.ends_with("got llama-9"), "{unknown}");
        let empty = format!("{:#}", error("src"));
        assert!(empty.starts_with("--model src: ") && empty.contains("config.json"), "{empty}");
    }
}
