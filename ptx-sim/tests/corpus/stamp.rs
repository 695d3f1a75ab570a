//! The first line of a committed PTX file: the compiler that made it, and a hash of that and of its
//! source. `cargo xtask corpus` writes it, and the tests compare it where there is no compiler.

use std::io;
use std::path::Path;

/// The line for a source that `compiler` (its name, version and flags) compiles in the folder `base`, by its path from
/// there.
pub fn first_line(base: &Path, source: &str, compiler: &str) -> io::Result<String> {
    let mut hash = Fnv::default();
    hash.text(compiler);
    hash.source(&base.join(source))?;
    Ok(format!("// {compiler} {source}, {:016x}", hash.0))
}

/// The headers of our own that a source includes.
pub fn headers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("#include \"")?.strip_suffix('"'))
}

/// FNV-1a: the same in every Rust release, and nobody attacks the corpus with it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Takes a source in, and the headers that it includes, and theirs.
    fn source(&mut self, path: &Path) -> io::Result<()> {
        let text = std::fs::read_to_string(path)?;
        self.text(&text);
        headers(&text).try_for_each(|header| self.source(&path.with_file_name(header)))
    }

    /// Takes a text in, and its length, so that two texts are not one.
    fn text(&mut self, text: &str) {
        for byte in text.bytes().chain((text.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
