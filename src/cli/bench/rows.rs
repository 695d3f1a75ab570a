//! What a user wants measured.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use llama_kernels::bench::{self, Row};
use llama_kernels::tensor::DType;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::options::BenchArgs;
use super::super::record::Sizes;
use super::forward::{Phase, Subject};

/// What is measured.
#[derive(Debug)]
pub struct Chosen {
    /// Single operations, each with its rows together.
    pub rows: Vec<Row>,
    /// Whole forward passes.
    pub phases: Vec<Phase>,
    /// Lines of `--shapes` in another element type than `--dtype`, which were left out.
    pub other_dtypes: usize,
}

/// The operations, models and shapes of the arguments.
pub fn chosen(args: &BenchArgs, dtype: DType) -> Result<Chosen> {
    let (mut ops, mut phases): (Vec<&str>, Vec<Phase>) = (Vec::new(), Vec::new());
    for word in &args.ops {
        match word.as_str() {
            "decode" if phases.contains(&Phase::Decode) => {}
            "prefill" if phases.contains(&Phase::Prefill) => {}
            "decode" => phases.push(Phase::Decode),
            "prefill" => phases.push(Phase::Prefill),
            op if bench::ops().any(|known| known == op) => ops.push(op),
            _ => {
                let known: Vec<_> = bench::ops().chain(["decode", "prefill"]).collect();
                bail!("OP: expected {}, got {word}", known.join(", "));
            }
        }
    }
    // The phases alone.
    if ops.is_empty() && !phases.is_empty() {
        return match &args.shapes {
            Some(file) => {
                bail!("--shapes {}: its lines are operations, not decode or prefill", file.display())
            }
            None => Ok(Chosen { rows: Vec::new(), phases, other_dtypes: 0 }),
        };
    }
    let mut other_dtypes = 0;
    let mut rows = match &args.shapes {
        Some(file) => {
            let shapes = read(file, dtype)?;
            other_dtypes = shapes.other_dtypes;
            shapes.rows
        }
        None if args.model.is_empty() => bench::rows(),
        None => of_models(&args.model)?,
    };
    rows.retain(|row| ops.is_empty() || ops.contains(&row.work.op()));
    rows.sort_by_key(|row| bench::ops().position(|op| op == row.work.op()));
    if let (true, Some(file)) = (rows.is_empty(), &args.shapes) {
        let of = if ops.is_empty() { String::new() } else { format!(" of {}", ops.join(", ")) };
        bail!("--shapes {}: expected lines{of} in {dtype}, found none", file.display());
    }
    Ok(Chosen { rows, phases, other_dtypes })
}

fn of_models(names: &[String]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for Subject { name, config } in Subject::all(names)? {
        rows.extend(bench::rows_of(&name, &config.dims())?);
    }
    Ok(rows)
}

/// What a line says of a row; other results have more, and shapes by hand may have less.
#[derive(Deserialize)]
struct Line {
    kind: Option<String>,
    /// What a probe answered.
    probe: Option<IgnoredAny>,
    op: Option<String>,
    #[serde(default)]
    label: String,
    #[serde(default)]
    dtype: String,
    sizes: Option<Sizes>,
}

/// The rows of a file.
#[derive(Debug)]
struct Shapes {
    rows: Vec<Row>,
    other_dtypes: usize,
}

fn read(file: &Path, dtype: DType) -> Result<Shapes> {
    let name = || format!("--shapes {}", file.display());
    let text = std::fs::read_to_string(file).with_context(name)?;
    parse(&text, dtype, &file.display().to_string()).with_context(|| "--shapes")
}

/// The rows in JSON lines, each once; lines that are no shapes, such as those that describe a run, are passed over.
fn parse(text: &str, dtype: DType, file: &str) -> Result<Shapes> {
    let mut shapes = Shapes { rows: Vec::new(), other_dtypes: 0 };
    let mut known = HashSet::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{file}:{}", i + 1);
        let line: Line = serde_json::from_str(line).with_context(place)?;
        let other = match line.kind.as_deref() {
            Some("run" | "ceilings" | "step" | "check") => true,
            // What was counted of a whole pass.
            Some(_) => matches!(line.op.as_deref(), Some("decode" | "prefill")),
            None => false,
        };
        let (op, sizes) = match (line.op, line.sizes) {
            _ if other || line.probe.is_some() => continue,
            (Some(op), Some(sizes)) => (op, sizes),
            (None, _) => bail!("{}: expected an `op`, found none", place()),
            (_, None) => bail!("{}: expected `sizes`, found none", place()),
        };
        match line.dtype.as_str() {
            "" | "bf16" | "f16" => {}
            wrong => bail!("{}: dtype: expected bf16 or f16, got {wrong}", place()),
        }
        if !line.dtype.is_empty() && line.dtype != dtype.to_string() {
            shapes.other_dtypes += 1;
            continue;
        }
        let row = Row { label: line.label, work: bench::work(&op, &sizes.0).with_context(place)? };
        // A file of results may have a row in several of its runs.
        if known.insert(format!("{row:?}")) {
            shapes.rows.push(row);
        }
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use llama_kernels::model::config::Config;

    use super::*;

    fn of(arguments: &[&str]) -> Result<Chosen> {
        #[derive(Parser)]
        struct Bench {
            #[command(flatten)]
            args: BenchArgs,
        }
        let bench = Bench::parse_from([&["bench"], arguments].concat());
        chosen(&bench.args, DType::BF16)
    }

    fn ops(chosen: &Chosen) -> Vec<&'static str> {
        let mut ops: Vec<_> = chosen.rows.iter().map(|row| row.work.op()).collect();
        ops.dedup();
        ops
    }

    #[test]
    fn words_choose_operations_and_phases() {
        let all = of(&[]).unwrap();
        assert_eq!((all.rows.len(), all.phases.len()), (bench::rows().len(), 0));
        let some = of(&["sample", "decode", "embed", "decode"]).unwrap();
        assert_eq!((ops(&some), &some.phases[..]), (vec!["embed", "sample"], &[Phase::Decode][..]));
        let phases = of(&["prefill", "decode"]).unwrap();
        assert_eq!((phases.rows.len(), &phases.phases[..]), (0, &[Phase::Prefill, Phase::Decode][..]));
        let error = of(&["embed", "sampel"]).unwrap_err().to_string();
        assert!(
            error.starts_with("OP: expected embed, rms_norm, ") && error.ends_with("got sampel"),
            "{error}"
        );
    }

    #[test]
    fn rows_of_several_models_stand_together_by_operation() {
        let models = of(&["--model", "llama-3.2-1b,llama-2-7b", "silu_and_mul", "embed"]).unwrap();
        assert_eq!(ops(&models), ["embed", "silu_and_mul"]);
        let labels: HashSet<_> = models.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, HashSet::from(["llama-3.2-1b", "llama-2-7b"]));
        let folder = of(&["--model", "assets/demo-model", "matmul"]).unwrap();
        assert!(folder.rows.iter().all(|row| row.label.starts_with("demo-model ")), "{folder:?}");
        let error = of(&["--model", "llama-9"]).unwrap_err().to_string();
        assert!(
            error.starts_with("--model: expected llama-1-7b, ") && error.ends_with("got llama-9"),
            "{error}"
        );
    }

    #[test]
    fn every_published_model_has_rows() {
        for name in Config::preset_names() {
            let rows = of_models(&[name.to_string()]).unwrap();
            assert!(rows.len() > 90, "{name}: {}", rows.len());
        }
    }

    fn names(text: &str, dtype: DType) -> (Vec<String>, usize) {
        let shapes = parse(text, dtype, "f").unwrap();
        (shapes.rows.iter().map(|row| format!("{row:?}")).collect(), shapes.other_dtypes)
    }

    #[test]
    fn shapes_are_read_from_results_and_by_hand() {
        let text = r#"
            {"op": "rms_norm", "sizes": {"hidden": 64, "tokens": 3}}

            {"kind": "run", "command": "bench"}
            {"kind": "check", "op": "embed", "cases": 3}
            {"kind": "counters", "op": "decode", "sizes": {"batch": 1, "context": 512}}
            {"probe": "add.u32", "output": ""}
            {"kind": "kernel", "op": "rms_norm", "label": "8B", "dtype": "bf16", "sizes": {"tokens": 3, "hidden": 64}, "microseconds": 1}
            {"kind": "row", "op": "rms_norm", "label": "8B", "dtype": "bf16", "sizes": {"tokens": 3, "hidden": 64}}
            {"kind": "row", "op": "rms_norm", "label": "8B", "dtype": "f16", "sizes": {"tokens": 4, "hidden": 64}}
        "#;
        let (rows, others) = names(text, DType::BF16);
        assert_eq!(rows, ["rms_norm  tokens=3 hidden=64", "rms_norm 8B tokens=3 hidden=64"]);
        assert_eq!(others, 1);
        let (rows, others) = names(text, DType::F16);
        assert_eq!(rows, ["rms_norm  tokens=3 hidden=64", "rms_norm 8B tokens=4 hidden=64"]);
        assert_eq!(others, 2);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (line, text) in [
            (
                r#"{"op": "rms_norm", "sizes": {"tokens": 3}}"#,
                "f:2: rms_norm: hidden: expected a size, got none",
            ),
            (r#"{"op": "decode", "sizes": {}}"#, "f:2: bench: op: expected embed, "),
            (r#"{"op": "rmsnorm", "sizes": {}}"#, "f:2: bench: op: expected embed, "),
            (r#"{"op": "rms_norm"}"#, "f:2: expected `sizes`, found none"),
            (r#"{"sizes": {"tokens": 3}}"#, "f:2: expected an `op`, found none"),
            (
                r#"{"op": "rms_norm", "dtype": "f32", "sizes": {}}"#,
                "f:2: dtype: expected bf16 or f16, got f32",
            ),
            (
                r#"{"op": "rms_norm", "sizes": {"tokens": -1}}"#,
                "f:2: invalid value: integer `-1`, expected u64",
            ),
            (
                r#"{"op": "rms_norm", "sizes": [3]}"#,
                "f:2: invalid type: sequence, expected an object of numbers",
            ),
            (r#"{"op": "rms_norm","#, "f:2: EOF while parsing"),
            ("[]", "f:2: invalid length 0"),
        ] {
            let error = parse(&format!("\n{line}\n"), DType::BF16, "f").unwrap_err();
            assert!(format!("{error:#}").starts_with(text), "{error:#}");
        }
    }
}
