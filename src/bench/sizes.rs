//! Works from the sizes that [`Work::sizes`] says of them: files name them so.

use super::{
    AddRmsNorm, AddRmsNormFp8, Attention, AttentionCombine, Embed, GatherRows, H200, Matmul, PermuteColumns,
    QuantizeFp8, RmsNorm, RmsNormFp8, RopeAppendKv, Row, Sample, SiluAndMul, Work, attention,
    attention_combine, embed, gather_rows, matmul, norm, norm_fp8, permute_columns, quantize_fp8,
    rope_append_kv, sample, silu_and_mul,
};
use crate::backend::ModelDims;
use crate::tensor::DType;
use crate::{Error, Result};

/// The largest size: kernels count in an i32, with room for a tile beyond.
const MAX_SIZE: usize = 1 << 30;
/// The largest product of all sizes of a work, but those of its tile. It bounds every count of bytes and of operations, which are at most some dozen
/// times this, to 64 bits; a prompt of 128K tokens of Llama 3.1 405B comes to half of it.
const MAX_PRODUCT: u64 = 1 << 52;

/// An operation.
pub(super) struct Operation {
    pub op: &'static str,
    /// Its sizes.
    names: &'static [&'static str],
    /// What is timed of a model of this name.
    pub rows: fn(&str, &ModelDims) -> Vec<Row>,
    /// The work of these sizes.
    make: fn(&Given<'_>) -> Result<Box<dyn Work>>,
}

/// All of them, in the order in which they are timed.
pub(super) const OPERATIONS: [Operation; 17] = [
    Operation { op: "embed", names: &["tokens", "hidden", "vocab"], rows: embed::rows, make: Embed::of },
    Operation {
        op: "rms_norm",
        names: &["tokens", "hidden", "permuted"],
        rows: norm::rms_norm_rows,
        make: RmsNorm::of,
    },
    Operation {
        op: "add_rms_norm",
        names: &["tokens", "hidden", "permuted"],
        rows: norm::add_rms_norm_rows,
        make: AddRmsNorm::of,
    },
    Operation {
        op: "quantize_fp8",
        names: &["tokens", "width", "groups"],
        rows: quantize_fp8::rows,
        make: QuantizeFp8::of,
    },
    Operation {
        op: "rms_norm_fp8",
        names: &["tokens", "hidden", "groups"],
        rows: norm_fp8::rms_norm_rows,
        make: RmsNormFp8::of,
    },
    Operation {
        op: "add_rms_norm_fp8",
        names: &["tokens", "hidden", "groups"],
        rows: norm_fp8::add_rms_norm_rows,
        make: AddRmsNormFp8::of,
    },
    Operation {
        op: "silu_and_mul",
        names: &["tokens", "intermediate"],
        rows: silu_and_mul::rows,
        make: SiluAndMul::of,
    },
    Operation {
        op: "rope_append_kv",
        names: &["tokens", "num_q_heads", "num_kv_heads", "head_dim", "num_positions", "fp8_cache"],
        rows: rope_append_kv::rows,
        make: RopeAppendKv::of,
    },
    Operation {
        op: "gather_rows",
        names: &["rows", "tokens", "hidden"],
        rows: gather_rows::rows,
        make: GatherRows::of,
    },
    Operation {
        op: "permute_columns",
        names: &["tokens", "width"],
        rows: permute_columns::rows,
        make: PermuteColumns::of,
    },
    Operation {
        op: "matmul",
        names: &[
            "m",
            "n",
            "k",
            "swiglu",
            "bias",
            "f32_out",
            "invariant",
            "no_workspace",
            "shared",
            "tile_m",
            "tile_n",
            "tile_k",
        ],
        rows: matmul::rows,
        make: Matmul::of,
    },
    Operation {
        op: "matmul_int4",
        names: &[
            "m",
            "n",
            "k",
            "group",
            "zeros",
            "swiglu",
            "bias",
            "f32_out",
            "invariant",
            "no_workspace",
            "shared",
            "tile_m",
            "tile_n",
            "tile_k",
        ],
        rows: matmul::int4_rows,
        make: Matmul::of_int4,
    },
    Operation {
        op: "matmul_fp8",
        names: &[
            "m",
            "n",
            "k",
            "x_tensor",
            "w_tensor",
            "blocks",
            "fast",
            "swiglu",
            "bias",
            "f32_out",
            "e4m3_out",
            "invariant",
            "no_workspace",
            "shared",
            "tile_m",
            "tile_n",
            "tile_k",
        ],
        rows: matmul::fp8_rows,
        make: Matmul::of_fp8,
    },
    Operation {
        op: "attention_prefill",
        names: &["batch", "q_len", "kv_len", "num_q_heads", "num_kv_heads", "head_dim", "fp8_cache"],
        rows: attention::prefill_rows,
        make: Attention::of_prefill,
    },
    Operation {
        op: "attention_decode",
        names: &[
            "batch",
            "q_len",
            "kv_len",
            "num_q_heads",
            "num_kv_heads",
            "head_dim",
            "invariant",
            "fp8_cache",
        ],
        rows: attention::decode_rows,
        make: Attention::of_decode,
    },
    Operation {
        op: "attention_combine",
        names: &["splits", "tokens", "num_q_heads", "head_dim"],
        rows: attention_combine::rows,
        make: AttentionCombine::of,
    },
    Operation {
        op: "sample",
        names: &["rows", "vocab", "temperature", "filters"],
        rows: sample::rows,
        make: Sample::of,
    },
];

/// The operations, in the order of [`rows`](super::rows).
pub fn ops() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.op)
}

/// The work of an operation that says these sizes of itself: the inverse of [`Work::sizes`]. Sizes that are 0 or 1 and not
/// given are 0.
///
/// [`Error::Argument`] names the operation and the size: unknown, given twice, missing, zero, too large, or such that no kernel
/// takes them on any device.
pub fn work<N: AsRef<str>>(op: &str, sizes: &[(N, u64)]) -> Result<Box<dyn Work>> {
    let operation = OPERATIONS.iter().find(|operation| operation.op == op).ok_or_else(|| {
        let known: Vec<_> = ops().collect();
        Error::argument("bench", "op", known.join(", "), op)
    })?;
    let work = (operation.make)(&Given::new(operation, sizes)?)?;
    check(work.as_ref())?;
    Ok(work)
}

/// Refuses what no kernel takes.
fn check(work: &dyn Work) -> Result<()> {
    for dtype in [DType::BF16, DType::F16] {
        work.plans(dtype, &H200)?;
    }
    Ok(())
}

/// Sizes of an operation by name, each one of its own and none too large.
pub(super) struct Given<'a> {
    op: &'static str,
    sizes: Vec<(&'a str, usize)>,
}

impl<'a> Given<'a> {
    fn new<N: AsRef<str>>(operation: &Operation, sizes: &'a [(N, u64)]) -> Result<Self> {
        let &Operation { op, names, .. } = operation;
        let mut known: Vec<(&str, usize)> = Vec::new();
        let mut product = 1u64;
        for (name, size) in sizes.iter().map(|(name, size)| (name.as_ref(), *size)) {
            let Some(of_op) = names.iter().find(|of_op| **of_op == name) else {
                return Err(Error::argument(op, "sizes", names.join(", "), name));
            };
            if known.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Error::argument(op, of_op, "one size", "two"));
            }
            let fitting = usize::try_from(size).ok().filter(|size| *size <= MAX_SIZE);
            let too_large = || Error::argument(op, of_op, format!("at most {MAX_SIZE}"), size);
            known.push((name, fitting.ok_or_else(too_large)?));
            if !name.starts_with("tile_") {
                product = product.saturating_mul(size.max(1));
            }
        }
        if product > MAX_PRODUCT {
            let expected = format!("a product of at most {MAX_PRODUCT}");
            let given: Vec<_> = known.iter().map(|(name, size)| format!("{name}={size}")).collect();
            return Err(Error::argument(op, "sizes", expected, given.join(" ")));
        }
        Ok(Given { op, sizes: known })
    }

    pub fn error(&self, name: &'static str, expected: impl std::fmt::Display, given: usize) -> Error {
        Error::argument(self.op, name, expected, given)
    }

    /// A size that may be missing.
    pub fn optional(&self, name: &'static str) -> Result<Option<usize>> {
        match self.sizes.iter().find(|(known, _)| *known == name) {
            Some((_, 0)) => Err(self.error(name, "at least 1", 0)),
            found => Ok(found.map(|(_, size)| *size)),
        }
    }

    /// A size.
    pub fn size(&self, name: &'static str) -> Result<usize> {
        self.optional(name)?.ok_or_else(|| Error::argument(self.op, name, "a size", "none"))
    }

    /// A size of so many at most.
    pub fn at_most(&self, name: &'static str, most: usize) -> Result<usize> {
        let size = self.size(name)?;
        if size > most { Err(self.error(name, format!("at most {most}"), size)) } else { Ok(size) }
    }

    /// A size that is 1 or 0, 0 where it is missing.
    pub fn flag(&self, name: &'static str) -> Result<bool> {
        match self.sizes.iter().find(|(known, _)| *known == name) {
            None | Some((_, 0)) => Ok(false),
            Some((_, 1)) => Ok(true),
            Some((_, size)) => Err(Error::argument(self.op, name, "0 or 1", size)),
        }
    }
}

/// What [`Work::sizes`] says of a flag: nothing where it is not set.
pub(super) fn set(name: &'static str, flag: bool) -> Option<(&'static str, usize)> {
    flag.then_some((name, 1))
}

#[cfg(test)]
mod tests {
    use super::super::{MatmulPath, rows, sizes as text_of};
    use super::*;
    use crate::plan::MatmulShape;

    fn again(first: &dyn Work) -> Box<dyn Work> {
        let sizes: Vec<_> = first.sizes().into_iter().map(|(name, size)| (name, size as u64)).collect();
        work(first.op(), &sizes).unwrap_or_else(|error| panic!("{sizes:?}: {error}"))
    }

    #[test]
    fn a_work_is_what_it_says_of_itself() {
        let tiled = Matmul {
            shape: MatmulShape { m: 8192, n: 28672, k: 8192, bias: true, ..MatmulShape::default() },
            path: MatmulPath::Tile([64, 128, 64]),
        };
        let works = rows().into_iter().map(|row| row.work).chain([Box::new(tiled) as Box<dyn Work>]);
        for first in works {
            let second = again(first.as_ref());
            assert_eq!((first.op(), first.sizes()), (second.op(), second.sizes()));
            assert_eq!(first.cost(), second.cost());
            assert_eq!(first.operand_bytes(), second.operand_bytes());
            for dtype in [DType::BF16, DType::F16] {
                let plans = [&first, &second].map(|work| work.plans(dtype, &H200).unwrap());
                assert_eq!(plans[0], plans[1], "{} {}", first.op(), text_of(first.as_ref()));
                assert_eq!(first.touched_bytes(&plans[0]), second.touched_bytes(&plans[1]));
                assert_eq!(first.issued_bytes(&plans[0]), second.issued_bytes(&plans[1]));
            }
        }
    }

    /// Whatever can be chosen is said: works that differ have sizes that differ.
    #[test]
    fn choices_are_sizes() {
        let of = |op: &str, text: &str| {
            let sizes: Vec<(&str, u64)> = text
                .split(' ')
                .map(|size| size.split_once('=').unwrap())
                .map(|(name, size)| (name, size.parse().unwrap()))
                .collect();
            text_of(work(op, &sizes).unwrap().as_ref())
        };
        for (op, text) in [
            ("rms_norm", "tokens=3 hidden=64 permuted=1"),
            ("add_rms_norm", "tokens=3 hidden=64 permuted=1"),
            ("matmul", "m=3 n=32 k=16 swiglu=1 bias=1 f32_out=1"),
            ("matmul", "m=3 n=32 k=16 invariant=1"),
            ("matmul", "m=3 n=32 k=16 tile_m=64 tile_n=64 tile_k=128"),
            (
                "attention_decode",
                "batch=2 q_len=1 kv_len=77 num_q_heads=4 num_kv_heads=2 head_dim=64 invariant=1",
            ),
            (
                "attention_prefill",
                "batch=2 q_len=3 kv_len=77 num_q_heads=4 num_kv_heads=2 head_dim=64 fp8_cache=1",
            ),
            ("sample", "rows=2 vocab=32 temperature=1"),
            ("sample", "rows=2 vocab=32 temperature=1 filters=1"),
        ] {
            assert_eq!(of(op, text), text);
        }
        assert_eq!(of("sample", "vocab=32 rows=2 filters=0"), "rows=2 vocab=32");
    }

    #[test]
    fn sizes_that_cannot_be_are_named() {
        let message = |op: &str, sizes: &[(&str, u64)]| match work(op, sizes) {
            Ok(work) => panic!("{op} {sizes:?} made {}", text_of(work.as_ref())),
            Err(error) => error.to_string(),
        };
        const BIG: u64 = 1 << 30;
        let heads = |batch, q_len, kv_len, [q_heads, kv_heads, head_dim]: [u64; 3]| {
            let lengths = [("batch", batch), ("q_len", q_len), ("kv_len", kv_len)];
            [&lengths[..], &[("num_q_heads", q_heads), ("num_kv_heads", kv_heads), ("head_dim", head_dim)]]
                .concat()
        };
        for (op, sizes, text) in [
            ("attention", &[][..], "bench: op: expected embed, rms_norm, "),
            ("rms_norm", &[("tokens", 1)], "rms_norm: hidden: expected a size, got none"),
            ("rms_norm", &[("tokens", 0), ("hidden", 64)], "rms_norm: tokens: expected at least 1, got 0"),
            (
                "rms_norm",
                &[("tokens", 1), ("width", 64)],
                "rms_norm: sizes: expected tokens, hidden, permuted, got width",
            ),
            ("rms_norm", &[("tokens", 1), ("tokens", 1)], "rms_norm: tokens: expected one size, got two"),
            (
                "rms_norm",
                &[("tokens", 1), ("hidden", 63)],
                "rms_norm: hidden: expected a multiple of 8, at most ",
            ),
            (
                "rms_norm",
                &[("tokens", u64::MAX), ("hidden", 64)],
                "rms_norm: tokens: expected at most 1073741824, got 1844",
            ),
            (
                "matmul",
                &[("m", BIG), ("n", BIG), ("k", BIG)],
                "matmul: sizes: expected a product of at most 4503599627370496, got m=",
            ),
            (
                "matmul",
                &[("m", 1), ("n", 16), ("k", 16), ("bias", 2)],
                "matmul: bias: expected 0 or 1, got 2",
            ),
            (
                "matmul",
                &[("m", 1), ("n", 16), ("k", 16), ("tile_m", 64)],
                "matmul: tile_m, tile_n, tile_k: expected all of them",
            ),
            (
                "matmul",
                &[("m", 99), ("n", 16), ("k", 16), ("tile_m", 1), ("tile_n", 1), ("tile_k", 1)],
                "matmul: tile: expected a tile of the shape, got [1, 1, 1]",
            ),
            (
                "embed",
                &[("tokens", 9), ("hidden", 64), ("vocab", 8)],
                "embed: tokens: expected at most 8, got 9",
            ),
            (
                "gather_rows",
                &[("rows", 9), ("hidden", 64), ("tokens", 8)],
                "gather_rows: rows: expected at most 8, got 9",
            ),
            (
                "quantize_fp8",
                &[("tokens", 1), ("width", 256), ("groups", 3)],
                "quantize_fp8: groups: expected 1 or 2, got 3",
            ),
            ("sample", &[("rows", 1), ("vocab", BIG)], "sample: vocab_size: expected at most "),
            (
                "sample",
                &[("rows", 1), ("vocab", 32), ("filters", 1)],
                "sample: filters: expected 0 without temperature",
            ),
        ] {
            let message = message(op, sizes);
            assert!(message.starts_with(text), "{message}");
        }
        for (op, sizes, text) in [
            (
                "attention_prefill",
                heads(1, 9, 8, [4, 4, 64]),
                "attention_prefill: q_len: expected at most 8, got 9",
            ),
            (
                "attention_prefill",
                heads(1, 8, 8, [4, 4, 96]),
                "attention_prefill: head_dim: expected 64 or 128, got 96",
            ),
            (
                "attention_prefill",
                heads(1, 8, 8, [4, 3, 64]),
                "attention_prefill: num_q_heads: expected 1 to 16 times the 3",
            ),
            (
                "attention_prefill",
                heads(1, 8, 8, [34, 2, 64]),
                "attention_prefill: num_q_heads: expected 1 to 16 times",
            ),
            (
                "attention_prefill",
                heads(1, 8, BIG, [1, 1, 64]),
                "attention_prefill: kv_len: expected at most 16777216",
            ),
            (
                "attention_decode",
                heads(BIG, 1, 8, [1, 1, 64]),
                "attention_decode: batch: expected at most 16384",
            ),
            (
                "attention_decode",
                heads(1 << 14, 1, 1 << 20, [1, 1, 64]),
                "attention_decode: kv_len: expected at most 131071 of each",
            ),
            (
                "attention_decode",
                heads(1, 9, 99, [1, 1, 64]),
                "attention_decode: max_q_len: expected at most 8",
            ),
        ] {
            let message = message(op, &sizes);
            assert!(message.starts_with(text), "{message}");
        }
    }

    /// What is accepted at the edge of what may be: no count of it overflows, and none takes long.
    #[test]
    fn the_largest_sizes_can_be_counted() {
        const EDGES: [u64; 10] = [1, 2, 8, 16, 64, 128, 1 << 14, 1 << 20, 1 << 24, 1 << 30];
        let mut accepted = 0;
        for operation in &OPERATIONS {
            // Some thousand combinations of edges, by a linear congruence.
            let mut state = 1u64;
            for _ in 0..4000 {
                let sizes: Vec<(&str, u64)> = operation
                    .names
                    .iter()
                    .filter(|name| !name.starts_with("tile"))
                    .map(|name| {
                        state = state
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let flag = matches!(
                            *name,
                            "swiglu" | "bias" | "f32_out" | "invariant" | "temperature" | "filters"
                        );
                        let edge = EDGES[(state >> 33) as usize % EDGES.len()];
                        (*name, if flag { state >> 40 & 1 } else { edge })
                    })
                    .collect();
                let Ok(work) = work(operation.op, &sizes) else { continue };
                accepted += 1;
                let plans = work.plans(DType::BF16, &H200).unwrap();
                let counts =
                    [work.cost().flops, work.cost().bytes, work.operand_bytes(), work.touched_bytes(&plans)];
                assert!(counts.iter().all(|count| *count < 1 << 60), "{} {counts:?}", text_of(work.as_ref()));
                assert!(work.issued_bytes(&plans) < 1 << 62, "{}", text_of(work.as_ref()));
            }
        }
        assert!(accepted > 2000, "{accepted}");
    }
}
