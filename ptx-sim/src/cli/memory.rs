//! Memory of one run: buffers allocated and filled, variables set, results taken out.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ptx_sim::{Device, Module};

use crate::launch_file::{Buffer, Fill, LaunchFile, Placed};

/// Bytes that are written to the device at a time. A multiple of every element's size.
const CHUNK: usize = 1 << 20;

/// A result of a run.
#[derive(PartialEq, Eq)]
pub struct Output {
    /// The buffer or variable.
    pub label: String,
    /// The file that it is for.
    pub file: PathBuf,
    /// Zeros where nothing was ever written.
    pub bytes: Vec<u8>,
    /// Bytes that nothing has written.
    pub unwritten: usize,
}

/// Allocates all buffers, and gives their addresses.
pub fn allocate(device: &Device, file: &LaunchFile) -> Result<Vec<u64>> {
    file.buffers
        .iter()
        .map(|buffer| device.allocate(buffer.bytes).with_context(|| buffer.path.clone()))
        .collect()
}

/// Makes memory what the launch file says that it is before the first launch.
pub fn fill(device: &Device, module: &Module, file: &LaunchFile, addresses: &[u64]) -> Result<()> {
    for (buffer, &address) in file.buffers.iter().zip(addresses) {
        fill_buffer(device, buffer, address).with_context(|| buffer.path.clone())?;
        for Placed { offset, value, path } in &buffer.values {
            // Within the buffer, which `offset` was read with.
            let bytes = value.bytes(&|buffer| addresses[buffer])?;
            device.write(address + offset, &bytes).with_context(|| path.clone())?;
        }
    }
    for variable in &file.variables {
        let (address, bytes) = module.variable(&variable.name).with_context(|| variable.path.clone())?;
        if let Some((from, length)) = &variable.from {
            if *length > bytes {
                bail!(
                    "{}.from: expected a file of at most {bytes} bytes, given {length} bytes",
                    variable.path
                );
            }
            copy_file(device, from, *length, address).with_context(|| variable.path.clone())?;
        }
    }
    for (buffer, &address) in file.buffers.iter().zip(addresses) {
        if buffer.freed {
            device.free(address).with_context(|| buffer.path.clone())?;
        }
    }
    Ok(())
}

/// What the launch file wants written, in its order.
pub fn outputs(
    device: &Device,
    module: &Module,
    file: &LaunchFile,
    addresses: &[u64],
) -> Result<Vec<Output>> {
    let mut outputs = Vec::new();
    let mut take = |label: &str, to: &Option<PathBuf>, address: u64, size: u64| -> Result<()> {
        let Some(file) = to else { return Ok(()) };
        let mut bytes = vec![0; usize::try_from(size)?];
        device.read(address, &mut bytes).with_context(|| label.to_owned())?;
        let unwritten = clear_unwritten(device, address, &mut bytes).with_context(|| label.to_owned())?;
        outputs.push(Output { label: label.to_owned(), file: file.clone(), bytes, unwritten });
        Ok(())
    };
    for (buffer, &address) in file.buffers.iter().zip(addresses) {
        take(&buffer.label, &buffer.to, address, buffer.bytes)?;
    }
    for variable in &file.variables {
        let (address, bytes) = module.variable(&variable.name)?;
        take(&variable.name, &variable.to, address, bytes)?;
    }
    Ok(outputs)
}

/// Makes zeros of the bytes that nothing has written, which hold garbage that depends on the seed. Gives their number.
fn clear_unwritten(device: &Device, address: u64, bytes: &mut [u8]) -> ptx_sim::Result<usize> {
    const BLOCK: usize = 4096;
    let mut unwritten = 0;
    for (number, block) in bytes.chunks_mut(BLOCK).enumerate() {
        let start = address + (number * BLOCK) as u64;
        if device.is_initialized(start, block.len() as u64)? {
            continue;
        }
        for (byte, address) in block.iter_mut().zip(start..) {
            if !device.is_initialized(address, 1)? {
                *byte = 0;
                unwritten += 1;
            }
        }
    }
    Ok(unwritten)
}

fn fill_buffer(device: &Device, buffer: &Buffer, address: u64) -> Result<()> {
    match buffer.fill {
        Fill::Poison => {}
        Fill::Byte(byte) => device.fill(address, byte, buffer.bytes)?,
        Fill::Iota(ty) => {
            let elements = buffer.bytes / ty.size() as u64;
            let mut chunk = Vec::with_capacity(CHUNK);
            for index in 0..elements {
                chunk.extend_from_slice(&ty.iota(index)[..ty.size()]);
                if chunk.len() == CHUNK || index + 1 == elements {
                    let end = (index + 1) * ty.size() as u64;
                    device.write(address + end - chunk.len() as u64, &chunk)?;
                    chunk.clear();
                }
            }
        }
    }
    match &buffer.from {
        Some((file, length)) => copy_file(device, file, *length, address),
        None => Ok(()),
    }
}

/// Copies the first `length` bytes of a file, which it had when its length was looked up.
fn copy_file(device: &Device, file: &Path, length: u64, address: u64) -> Result<()> {
    let name = || file.display().to_string();
    let mut source = File::open(file).with_context(name)?;
    let mut chunk = vec![0; CHUNK.min(usize::try_from(length)?)];
    let mut done = 0;
    while done < length {
        let part = &mut chunk[..CHUNK.min((length - done) as usize)];
        source.read_exact(part).with_context(name)?;
        device.write(address + done, part)?;
        done += part.len() as u64;
    }
    Ok(())
}

impl Output {
    /// Writes it to its file.
    pub fn write(&self) -> Result<()> {
        std::fs::write(&self.file, &self.bytes).with_context(|| self.file.display().to_string())
    }
}
