//! `llama-kernels logits`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use llama_kernels::Error;
use llama_kernels::backend::Backend;
use llama_kernels::device::DeviceChoice;
use llama_kernels::model::batch::{Logits, SequenceInput};
use llama_kernels::model::checkpoint::Checkpoint;
use llama_kernels::model::forward::{Model, ModelOptions};

use super::device::{self, Job};
use super::interrupt::{self, Work};
use super::options::LogitsArgs;
use super::progress::ProgressBar;

/// Bytes of logits that a step may hold.
const STEP_BYTES: usize = 64 << 20;

pub fn run(args: &LogitsArgs) -> Result<()> {
    device::run(&args.model, DeviceChoice::Cpu, WriteLogits(args)).map(drop)
}

struct WriteLogits<'a>(&'a LogitsArgs);

impl Job for WriteLogits<'_> {
    fn run<B: Backend>(self, backend: B, checkpoint: &Checkpoint) -> Result<()> {
        write(backend, checkpoint, self.0)
    }
}

fn write<B: Backend>(backend: B, checkpoint: &Checkpoint, args: &LogitsArgs) -> Result<()> {
    let (tokens, config) = (&args.tokens, checkpoint.config());
    if tokens.len() > config.context {
        return Err(Error::ContextTooLong { tokens: tokens.len(), context: config.context })
            .context("--tokens");
    }
    if let Some(id) = tokens.iter().find(|&&id| id as usize >= config.vocab_size) {
        bail!("--tokens: expected ids below {}, got {id}", config.vocab_size);
    }
    interrupt::install();
    let work = Work::begin();
    let mut out = Output::create(&args.out, tokens.len(), config.vocab_size)
        .with_context(|| format!("--out {}", args.out.display()))?;

    // Frequencies that depend on the length want the whole prompt in one step.
    let rows = match config.rope.depends_on_length() {
        true => tokens.len(),
        false => (STEP_BYTES / 4 / config.vocab_size).clamp(1, 512).min(tokens.len()),
    };
    let options = ModelOptions { max_tokens: rows, max_logits: rows, ..ModelOptions::single(tokens.len()) };
    let options = args.model.options(options);
    let total = checkpoint.weight_bytes();
    let mut bar = ProgressBar::new("loading");
    let mut model = Model::load(backend, checkpoint, &options, &mut |done| bar.set(done, total))?;
    drop(bar);
    let sequence = model.add_sequence()?;
    for chunk in tokens.chunks(rows) {
        model.forward(&[SequenceInput { sequence, tokens: chunk, logits: Logits::All }])?;
        out.append(&model.logits()?)?;
        if work.interrupted() {
            bail!("interrupted");
        }
    }
    out.finish()
}

/// A safetensors file of one f32 tensor, written beside its place and put there when it is whole; removed otherwise.
struct Output {
    file: BufWriter<File>,
    /// Where the bytes are until then; `None` for a pipe or device, which is written to directly.
    partial: Option<PathBuf>,
    path: PathBuf,
}

impl Output {
    fn create(path: &Path, rows: usize, columns: usize) -> Result<Self> {
        if path.is_dir() {
            bail!("expected a file, got a folder");
        }
        let special = path.metadata().is_ok_and(|m| !m.is_file());
        let partial = if special {
            None
        } else {
            let Some(name) = path.file_name() else { bail!("expected a file name") };
            let mut name = name.to_os_string();
            name.push(format!(".{}.partial", std::process::id()));
            Some(path.with_file_name(name))
        };
        let file = File::create(partial.as_deref().unwrap_or(path))?;
        let mut output = Output { file: BufWriter::new(file), partial, path: path.to_path_buf() };
        let bytes = rows * columns * 4;
        let mut header = format!(
            r#"{{"logits":{{"dtype":"F32","shape":[{rows},{columns}],"data_offsets":[0,{bytes}]}}}}"#
        );
        while header.len() % 8 != 0 {
            header.push(' ');
        }
        output.file.write_all(&(header.len() as u64).to_le_bytes())?;
        output.file.write_all(header.as_bytes())?;
        Ok(output)
    }

    fn append(&mut self, logits: &[f32]) -> Result<()> {
        self.file.write_all(bytemuck::cast_slice(logits)).with_context(|| self.path.display().to_string())
    }

    fn finish(mut self) -> Result<()> {
        let context = || self.path.display().to_string();
        self.file.flush().with_context(context)?;
        if let Some(partial) = &self.partial {
            std::fs::rename(partial, &self.path).with_context(context)?;
            self.partial = None;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // Nobody is left to be told.
            let _ = std::fs::remove_file(partial);
        }
    }
}
