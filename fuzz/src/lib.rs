//! What the fuzz targets share.

pub mod json_mutator;
pub mod ptx;
pub mod targets;

/// Lets a run go on where the library catches a panic: libFuzzer's own hook would stop it. A panic that
/// nothing catches still ends the run.
///
/// The `tokenizers` and `minijinja` crates panic on some files, which the readers turn into errors.
pub fn tolerate_caught_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
