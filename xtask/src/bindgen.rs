//! Makes src/params.rs from cuda/params.h, or proves that it is what bindgen makes today.

use anyhow::Result;

/// `cargo xtask bindgen [--check]`. bindgen is behind a feature of this program: without it, it builds itself again.
#[cfg(not(feature = "bindgen"))]
pub fn run(args: &[String]) -> Result<()> {
    let mut cargo = crate::workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "xtask", "--features", "bindgen", "--", "bindgen"]);
    crate::workspace::run(cargo.args(args))
}

/// `cargo xtask bindgen [--check]`.
#[cfg(feature = "bindgen")]
pub fn run(args: &[String]) -> Result<()> {
    generate::run(args)
}

#[cfg(feature = "bindgen")]
mod generate {
    use std::fs;

    use anyhow::{Context, Result, bail};
    use bindgen::callbacks::{DeriveInfo, ParseCallbacks};

    use crate::{setup, workspace};

    const HEADER: &str = "\
//! Parameters of the kernels as they lie in device memory, and the constants that a kernel and its plan share.
//!
//! Written by `cargo xtask bindgen` from `cuda/params.h`: change that file, not this one. Addresses are device addresses,
//! strides are in elements; every byte has a name, so that a struct may be handled as bytes.";

    /// No struct has padding of its own, so that all of them are plain bytes.
    #[derive(Debug)]
    struct PlainBytes;

    impl ParseCallbacks for PlainBytes {
        fn add_derives(&self, _: &DeriveInfo<'_>) -> Vec<String> {
            ["PartialEq", "bytemuck::Pod", "bytemuck::Zeroable"].map(String::from).into()
        }
    }

    pub fn run(args: &[String]) -> Result<()> {
        let check = workspace::flag(args, "--check")?;
        let libclang = setup::installed("clang/native")?;
        // SAFETY: this program has a single thread at this point.
        unsafe { std::env::set_var("LIBCLANG_PATH", libclang) };
        let header = workspace::root().join("cuda/params.h");
        let bindings = bindgen::Builder::default()
            .header(header.to_str().context("the workspace's path is not UTF-8")?)
            .allowlist_file(".*/cuda/params\\.h")
            .allowlist_recursively(false)
            .default_enum_style(bindgen::EnumVariation::Consts)
            .prepend_enum_name(false)
            .layout_tests(true)
            .derive_default(true)
            .parse_callbacks(Box::new(PlainBytes))
            .disable_header_comment()
            .raw_line(HEADER)
            .formatter(bindgen::Formatter::Rustfmt)
            .rustfmt_configuration_file(Some(workspace::root().join("rustfmt.toml")))
            .generate()?
            .to_string();
        let file = workspace::root().join("src/params.rs");
        if !check {
            return fs::write(&file, bindings).with_context(|| file.display().to_string());
        }
        if fs::read_to_string(&file).with_context(|| file.display().to_string())? != bindings {
            bail!("src/params.rs is not what bindgen makes of cuda/params.h: run `cargo xtask bindgen`");
        }
        Ok(())
    }
}
