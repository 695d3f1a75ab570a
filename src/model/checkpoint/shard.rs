//! One safetensors file of a checkpoint, read or mapped; or what stands in memory in its place.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::safetensors::{Header, TensorInfo};
use crate::model::json::clip;
use crate::tensor::Bytes;
use crate::{Error, Result};

/// Bytes of the header's length.
const LENGTH_BYTES: usize = 8;

/// A file whose header has been checked against its length.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Where the tensors begin in the file.
    data_start: usize,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File(Mutex<File>),
    Memory(Bytes),
}

impl Shard {
    /// Opens a file for reading.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let (header, data_start, file) = read_header(&path)?;
        Ok(Shard { path, header, data_start, source: Source::File(Mutex::new(file)) })
    }

    /// Maps a file.
    ///
    /// # Safety
    ///
    /// The file may not change as long as the shard or bytes read from it exist.
    pub(super) unsafe fn map(path: PathBuf) -> Result<Self> {
        let (header, data_start, file) = read_header(&path)?;
        // SAFETY: the caller keeps the file unchanged while it is mapped.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(&path, e))?;
        Ok(Shard { path, header, data_start, source: Source::Memory(Bytes::new(map)) })
    }

    /// Tensors that are in memory already; `path` is what errors call them. Unlike in a file, they may share bytes.
    pub(super) fn in_memory(path: PathBuf, header: Header, data: Bytes) -> Self {
        Shard { path, header, data_start: 0, source: Source::Memory(data) }
    }

    /// The bytes of a tensor of this shard.
    pub(super) fn read(&self, name: &str, info: &TensorInfo) -> Result<Bytes> {
        // Both ends lie within the file, whose length is a `usize`.
        let (start, end) = (self.data_start + info.bytes.start, self.data_start + info.bytes.end);
        let shortened = || {
            let problem = "the file has become shorter since it was opened";
            Error::malformed(&self.path, format!("tensor `{}`", clip(name)), problem)
        };
        match &self.source {
            Source::Memory(bytes) => bytes.slice(start..end).ok_or_else(shortened),
            Source::File(file) => {
                let mut data = Vec::new();
                data.try_reserve_exact(end - start)
                    .map_err(|_| Error::io(&self.path, IoError::from(ErrorKind::OutOfMemory)))?;
                // A poisoned lock is as good as any: what a panic may have left is a position, which is set
                // anew.
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let read = file
                    .seek(SeekFrom::Start(start as u64))
                    .and_then(|_| (&mut *file).take((end - start) as u64).read_to_end(&mut data));
                read.map_err(|e| Error::io(&self.path, e))?;
                if data.len() == end - start { Ok(Bytes::new(data)) } else { Err(shortened()) }
            }
        }
    }
}

/// Opens a file, reads its header and checks it against the file's length.
fn read_header(path: &PathBuf) -> Result<(Header, usize, File)> {
    let io = |e| Error::io(path, e);
    // Asked before opening: to open a named pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::malformed(path, "file", "not a regular file"));
    }
    let mut file = File::open(path).map_err(io)?;
    let file_len = file.metadata().map_err(io)?.len();
    let mut length = [0; LENGTH_BYTES];
    if file_len < LENGTH_BYTES as u64 {
        return Err(Error::malformed(
            path,
            "header",
            format!("a file of {file_len} bytes has no room for one"),
        ));
    }
    file.read_exact(&mut length).map_err(io)?;
    let header_len = u64::from_le_bytes(length);
    if header_len > Header::MAX_BYTES {
        let problem = format!("{header_len} bytes, more than the format's {}", Header::MAX_BYTES);
        return Err(Error::malformed(path, "header", problem));
    }
    let rest = file_len - LENGTH_BYTES as u64;
    if header_len > rest {
        return Err(Error::malformed(
            path,
            "header",
            format!("{header_len} bytes, but {rest} are left in the file"),
        ));
    }
    let data_len = usize::try_from(rest - header_len)
        .map_err(|_| Error::malformed(path, "data", "larger than the address space"))?;
    let mut json = vec![0; header_len as usize];
    file.read_exact(&mut json).map_err(io)?;
    Ok((Header::parse(&json, data_len, path)?, LENGTH_BYTES + json.len(), file))
}
