//! Cases of `rope_append_kv`.

use super::Case;
use super::memory::{Memory, Operand};
use super::problem::{Expected, Outcome, Problem};
use super::values::{ACTIVATIONS, Rng, bytes, cpu, decode, encode, tensor};
use crate::backend::{self, Backend, PagedCacheMut};
use crate::gpu::{Stream, TensorMut, TensorRef};
use crate::params::{DEVICE_ERROR_POSITION, DEVICE_ERROR_SLOT};
use crate::reference::{Cpu, CpuBuffer};
use crate::tensor::{DType, Layout, Tensor, ViewMut};
use crate::{Result, ops};

/// The sizes of a case.
#[derive(Clone, Copy, Debug)]
struct Shape {
    tokens: usize,
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    page_size: usize,
    pages: usize,
}

impl Shape {
    const fn new(tokens: usize, heads: [usize; 2], head_dim: usize, [pages, page_size]: [usize; 2]) -> Self {
        Shape { tokens, q_heads: heads[0], kv_heads: heads[1], head_dim, page_size, pages }
    }

    fn width(self) -> usize {
        (self.q_heads + 2 * self.kv_heads) * self.head_dim
    }

    fn slots(self) -> usize {
        self.pages * self.page_size
    }

    fn page_elements(self) -> usize {
        self.page_size * self.kv_heads * self.head_dim
    }

    fn cache(self) -> [usize; 4] {
        [self.pages, self.page_size, self.kv_heads, self.head_dim]
    }
}

/// No token, one, one slot, all head dimensions, head ratios from 1:1 to 16:1, pages of 1 to 128 tokens, and the models' heads:
/// 8B, 70B, 405B (whose heads take two blocks), 3.2-1B and 3.2-3B.
const SHAPES: [Shape; 23] = [
    Shape::new(0, [32, 8], 128, [2, 16]),
    Shape::new(1, [1, 1], 16, [1, 1]),
    Shape::new(1, [4, 1], 64, [3, 1]),
    Shape::new(70, [1, 1], 16, [5, 16]),
    Shape::new(7, [3, 1], 32, [3, 4]),
    Shape::new(5, [2, 2], 48, [2, 16]),
    Shape::new(9, [6, 2], 80, [1, 16]),
    Shape::new(4, [5, 5], 96, [2, 8]),
    Shape::new(3, [7, 1], 112, [1, 4]),
    Shape::new(6, [8, 2], 144, [2, 16]),
    Shape::new(3, [3, 3], 160, [2, 2]),
    Shape::new(2, [2, 1], 176, [4, 1]),
    Shape::new(3, [4, 4], 192, [1, 4]),
    Shape::new(2, [1, 1], 208, [1, 2]),
    Shape::new(2, [3, 1], 224, [1, 2]),
    Shape::new(2, [5, 1], 240, [1, 2]),
    Shape::new(5, [16, 1], 256, [1, 8]),
    Shape::new(3, [32, 8], 128, [2, 16]),
    Shape::new(2, [64, 8], 128, [1, 32]),
    Shape::new(2, [128, 8], 128, [1, 128]),
    Shape::new(5, [32, 8], 64, [1, 16]),
    Shape::new(3, [24, 8], 128, [1, 64]),
    Shape::new(33, [8, 8], 64, [3, 16]),
];

/// Elements from one page to the next that put the third page beyond 2^31 elements.
const FAR: usize = (1 << 30) + 64;

/// A bit of the error word that is not the kernel's.
const FOREIGN_BIT: u32 = 1 << 31;

/// How a page is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// `[page_size, Hkv, hd]`.
    Nhd,
    /// `[Hkv, page_size, hd]`.
    Hnd,
}

/// What is special about a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Gaps between tokens, heads of `q_out`, pages, and rows of the table.
    Strided,
    /// The last pages lie beyond 2^31 elements.
    FarPages,
    /// The last tokens of qkv and q_out lie there.
    FarTokens,
    /// Keys and values share a buffer, page by page.
    Interleaved,
    /// Every other token is not stored.
    Skipped,
    /// Positions and slots that there are not, with an error word.
    OutOfRange,
    /// The same that nobody is told of.
    OutOfRangeUntold,
    /// NaN and infinity in tokens and angles.
    NotFinite,
    /// Products and sums beyond the range of the element type, and below it.
    Extreme,
    Misaligned(&'static str),
}

/// What stored keys, and stored values, are multiplied by.
fn scales(dtype: DType, cache_dtype: DType) -> [f32; 2] {
    if cache_dtype == dtype { [1.0; 2] } else { [0.017, 0.0031] }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in ACTIVATIONS {
        let mut case = |cache_dtype: DType, shape: Shape, order, kind| {
            let what = match kind {
                Kind::Plain => String::new(),
                Kind::Strided => " strided".into(),
                Kind::FarPages => " with pages beyond 2^31 elements".into(),
                Kind::FarTokens => " with tokens beyond 2^31 elements".into(),
                Kind::Interleaved => " with keys and values in one buffer".into(),
                Kind::Skipped => " with tokens that are not stored".into(),
                Kind::OutOfRange => " with positions and slots out of range".into(),
                Kind::OutOfRangeUntold => " with positions and slots out of range, no error word".into(),
                Kind::NotFinite => " with NaN and infinity".into(),
                Kind::Extreme => " at the ends of the range".into(),
                Kind::Misaligned(operand) => format!(" {operand} misaligned"),
            };
            let layout = if order == Order::Nhd { "NHD" } else { "HND" };
            let Shape { tokens, q_heads, kv_heads, head_dim, page_size, pages } = shape;
            let of = if cache_dtype == dtype { String::new() } else { format!(" of {cache_dtype}") };
            let name = format!(
                "{dtype} {tokens} of {q_heads}:{kv_heads} heads of {head_dim}, {pages} pages of {page_size} {layout}{of}{what}"
            );
            let dtypes = [dtype, cache_dtype];
            cases.push(Case::new("rope_append_kv", name, move || problem(dtypes, shape, order, kind)));
        };
        for (i, shape) in SHAPES.into_iter().enumerate() {
            case(dtype, shape, if i % 2 == 0 { Order::Nhd } else { Order::Hnd }, Kind::Plain);
            // Every other one for each type, so that both together have all.
            if (i % 2 == 0) == (dtype == DType::BF16) {
                case(DType::F8E4M3, shape, if i % 4 < 2 { Order::Nhd } else { Order::Hnd }, Kind::Plain);
            }
        }
        let (narrow, wide) = (Shape::new(9, [3, 1], 64, [3, 16]), Shape::new(5, [32, 8], 128, [3, 16]));
        for order in [Order::Nhd, Order::Hnd] {
            case(dtype, narrow, order, Kind::Strided);
            case(dtype, wide, order, Kind::Strided);
            case(dtype, narrow, order, Kind::FarPages);
            case(dtype, narrow, order, Kind::Interleaved);
        }
        case(dtype, Shape::new(3, [2, 1], 64, [1, 4]), Order::Nhd, Kind::FarTokens);
        for shape in [narrow, wide] {
            case(dtype, shape, Order::Nhd, Kind::Skipped);
            case(dtype, shape, Order::Nhd, Kind::OutOfRange);
            case(dtype, shape, Order::Hnd, Kind::OutOfRangeUntold);
        }
        case(dtype, narrow, Order::Nhd, Kind::NotFinite);
        case(dtype, narrow, Order::Nhd, Kind::Extreme);
        for operand in ["qkv", "positions", "slot_mapping", "cos_sin", "q_out", "k_cache", "v_cache"] {
            case(dtype, narrow, Order::Nhd, Kind::Misaligned(operand));
        }
        // Codes: all kinds that are about the cache.
        for (order, kind) in [
            (Order::Nhd, Kind::Strided),
            (Order::Hnd, Kind::FarPages),
            (Order::Nhd, Kind::Interleaved),
            (Order::Hnd, Kind::Skipped),
            (Order::Nhd, Kind::OutOfRange),
            (Order::Nhd, Kind::NotFinite),
            (Order::Nhd, Kind::Extreme),
            (Order::Nhd, Kind::Misaligned("k_cache")),
            (Order::Nhd, Kind::Misaligned("v_cache")),
        ] {
            case(DType::F8E4M3, narrow, order, kind);
        }
    }
    cases
}

/// Prompts with the heads of Llama 3 8B and 70B and 3.2 1B.
pub(super) fn model_cases() -> Vec<Case> {
    let shapes = [
        (DType::BF16, DType::BF16, [32, 8], 128),
        (DType::F16, DType::F16, [64, 8], 128),
        (DType::BF16, DType::BF16, [32, 8], 64),
        (DType::BF16, DType::F8E4M3, [32, 8], 128),
    ];
    let case = |(dtype, cache_dtype, heads, head_dim): (DType, DType, [usize; 2], usize)| {
        let shape = Shape::new(8192, heads, head_dim, [600, 16]);
        let of = if cache_dtype == dtype { String::new() } else { format!(" into a cache of {cache_dtype}") };
        let name = format!("{dtype} 8192 of {}:{} heads of {head_dim}{of}", heads[0], heads[1]);
        let dtypes = [dtype, cache_dtype];
        Case::new("rope_append_kv", name, move || problem(dtypes, shape, Order::Nhd, Kind::Plain))
    };
    shapes.map(case).into()
}

/// The numbers of a case.
struct Inputs {
    /// `[tokens, width]`.
    qkv: Vec<f64>,
    positions: Vec<i32>,
    slots: Vec<i64>,
    /// `[positions, head_dim]`.
    cos_sin: Vec<f64>,
    /// What the caches hold before: `[pages, page elements]`.
    caches: [Vec<f64>; 2],
}

impl Inputs {
    fn new([dtype, cache_dtype]: [DType; 2], shape: Shape, kind: Kind) -> Self {
        let Shape { tokens, head_dim, .. } = shape;
        let mut rng = Rng((tokens * head_dim) as u64);
        let mut qkv = rng.normal(dtype, tokens * shape.width(), 2.0);
        let num_positions = 2 * tokens + 3;
        let mut cos_sin: Vec<f64> = (0..num_positions)
            .flat_map(|_| {
                let angles: Vec<f64> = (0..head_dim / 2).map(|_| rng.below(1000) as f64).collect();
                angles
                    .iter()
                    .map(|angle| angle.cos())
                    .chain(angles.iter().map(|angle| angle.sin()))
                    .collect::<Vec<_>>()
            })
            .collect();
        cos_sin.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        let positions = (0..tokens).map(|_| rng.below(num_positions) as i32).collect();
        // Slots in any order, none twice.
        let mut slots: Vec<i64> = (0..shape.slots() as i64).collect();
        rng.shuffle(&mut slots);
        slots.truncate(tokens);
        let caches = [0; 2].map(|_| rng.normal(cache_dtype, shape.pages * shape.page_elements(), 1.0));
        let mut inputs = Inputs { qkv, positions, slots, cos_sin, caches };
        match kind {
            Kind::Skipped => {
                let skipped = [-1, i64::MIN, -16].into_iter().cycle();
                inputs.slots.iter_mut().step_by(2).zip(skipped).for_each(|(slot, skip)| *slot = skip);
            }
            Kind::OutOfRange | Kind::OutOfRangeUntold => {
                let slots = shape.slots() as i64;
                for (slot, wrong) in inputs.slots[1..].iter_mut().zip([slots, i64::MAX, 1 << 32]) {
                    *slot = wrong;
                }
                let wrong = [num_positions as i32, -1, i32::MAX, i32::MIN];
                inputs.positions.iter_mut().zip(wrong).for_each(|(position, wrong)| *position = wrong);
            }
            Kind::NotFinite => {
                let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                qkv = std::mem::take(&mut inputs.qkv);
                // In q, k and v of one token each, and as both halves of a pair.
                for (token, value) in values.into_iter().enumerate() {
                    for head in 0..shape.q_heads + 2 * shape.kv_heads {
                        let at = token * shape.width() + head * head_dim + 3 * head;
                        qkv[at] = value;
                        qkv[at + 5] = value;
                        qkv[at + 5 + head_dim / 2] = -value;
                    }
                }
                inputs.qkv = qkv;
                let last = inputs.positions[tokens - 1] as usize * head_dim;
                inputs.cos_sin[last + 1] = f64::NAN;
                inputs.cos_sin[last + head_dim / 2 + 2] = f64::INFINITY;
            }
            Kind::Extreme => {
                let (largest, smallest) =
                    if dtype == DType::F16 { (65504.0, 6e-8) } else { (3.38e38, 1e-40) };
                for (i, value) in inputs.qkv.iter_mut().enumerate() {
                    *value = match i % 4 {
                        0 => largest,
                        1 => -largest,
                        2 => smallest,
                        _ => *value,
                    };
                }
                inputs.qkv = decode(dtype, &encode(dtype, &inputs.qkv));
            }
            _ => {}
        }
        inputs
    }
}

fn problem(dtypes: [DType; 2], shape: Shape, order: Order, kind: Kind) -> Result<Problem> {
    let [dtype, cache_dtype] = dtypes;
    let [k_scale, v_scale] = scales(dtype, cache_dtype);
    let Shape { tokens, q_heads, head_dim, pages, .. } = shape;
    let inputs = Inputs::new(dtypes, shape, kind);
    let [q_out, k_cache, v_cache] = reference(dtypes, shape, order, &inputs)?;
    let num_positions = inputs.cos_sin.len() / head_dim;
    let told = kind != Kind::OutOfRangeUntold;
    let mut error = FOREIGN_BIT;
    if told && inputs.slots.iter().any(|&slot| slot >= shape.slots() as i64) {
        error |= DEVICE_ERROR_SLOT;
    }
    if told && !inputs.positions.iter().all(|position| (0..num_positions as i32).contains(position)) {
        error |= DEVICE_ERROR_POSITION;
    }
    let word = |bits: u32| bits.to_le_bytes().to_vec();
    let [k_before, v_before] = inputs.caches.map(|cache| encode(cache_dtype, &cache));
    let paged = [pages, shape.page_elements()];
    let mut operands = vec![
        Operand::input("qkv", dtype, &[tokens, shape.width()], encode(dtype, &inputs.qkv)),
        Operand::input(
            "positions",
            DType::I32,
            &[tokens],
            inputs.positions.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        Operand::input(
            "slot_mapping",
            DType::I64,
            &[tokens],
            inputs.slots.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        Operand::input(
            "cos_sin",
            DType::F32,
            &[num_positions, head_dim],
            encode(DType::F32, &inputs.cos_sin),
        ),
    ];
    // A row is a head where heads stand apart.
    let q_rows =
        if kind == Kind::Strided { [tokens * q_heads, head_dim] } else { [tokens, q_heads * head_dim] };
    operands.push(Operand::output("q_out", dtype, &q_rows, Expected::Numbers(q_out)));
    if kind == Kind::Interleaved {
        let page_bytes = shape.page_elements() * cache_dtype.size();
        let interleave = |k: &[u8], v: &[u8]| -> Vec<u8> {
            k.chunks(page_bytes).zip(v.chunks(page_bytes)).flat_map(|(k, v)| [k, v].concat()).collect()
        };
        operands.push(Operand::updated(
            "cache",
            cache_dtype,
            &[pages, 2 * shape.page_elements()],
            interleave(&k_before, &v_before),
            Expected::Numbers(interleave(&k_cache, &v_cache)),
        ));
    } else {
        for (name, before, after) in [("k_cache", k_before, k_cache), ("v_cache", v_before, v_cache)] {
            operands.push(Operand::updated(name, cache_dtype, &paged, before, Expected::Numbers(after)));
        }
    }
    operands.push(Operand::updated(
        "error",
        DType::U32,
        &[1],
        word(FOREIGN_BIT),
        Expected::Bits(word(error)),
    ));

    let place = |(i, operand): (usize, Operand)| match (kind, operand.name) {
        (Kind::Strided, "qkv" | "q_out" | "k_cache" | "v_cache" | "cos_sin") => {
            operand.with_gap(16 * (i + 1))
        }
        (Kind::FarPages, "k_cache" | "v_cache") => operand.with_gap(FAR),
        (Kind::FarTokens, "qkv" | "q_out") => operand.with_gap(FAR),
        // Half an element of a list.
        (Kind::Misaligned(name), "positions" | "slot_mapping") if name == operand.name => {
            let bytes = operand.dtype.size() / 2;
            operand.misplaced(bytes)
        }
        (Kind::Misaligned(name), _) if name == operand.name => {
            let bytes = operand.dtype.size();
            operand.misplaced(bytes)
        }
        _ => operand,
    };
    Ok(Problem {
        operands: operands.into_iter().enumerate().map(place).collect(),
        call: Box::new(move |stream, memory| {
            let (k_cache, v_cache) = caches(stream, memory, shape, order, kind)?;
            let q_out = memory.write("q_out")?;
            let stride = q_out.as_ref().layout().strides()[0];
            let strides = match kind {
                Kind::Strided => [q_heads * stride, stride, 1],
                _ => [stride, head_dim, 1],
            };
            let args = ops::RopeAppendKv {
                qkv: memory.read("qkv")?,
                positions: memory.read("positions")?,
                slot_mapping: memory.read("slot_mapping")?,
                cos_sin: memory.read("cos_sin")?,
                q_out: view(stream, &q_out.as_ref(), 0, &[tokens, q_heads, head_dim], &strides)?,
                k_cache,
                v_cache,
                k_scale,
                v_scale,
                error: if told { Some(memory.write("error")?) } else { None },
            };
            ops::rope_append_kv(stream, &args)
        }),
        outcome: match kind {
            Kind::Misaligned(operand) => Outcome::Refuses(operand),
            _ => Outcome::Launches(u64::from(tokens > 0)),
        },
    })
}

/// Keys and values as an engine would hand them over.
fn caches<'a>(
    stream: &Stream,
    memory: &'a Memory<'_>,
    shape: Shape,
    order: Order,
    kind: Kind,
) -> Result<(TensorMut<'a>, TensorMut<'a>)> {
    let names = if kind == Kind::Interleaved { ["cache", "cache"] } else { ["k_cache", "v_cache"] };
    let cache = |i: usize| {
        let rows = memory.read(names[i])?;
        let [_, strides @ ..] = compact_strides(shape, order);
        let strides = [rows.layout().strides()[0], strides[0], strides[1], strides[2]];
        let offset = if kind == Kind::Interleaved { i * shape.page_elements() } else { 0 };
        view(stream, &rows, offset, &shape.cache(), &strides)
    };
    Ok((cache(0)?, cache(1)?))
}

/// Elements of an operand in another shape, from `offset` on.
fn view<'a>(
    stream: &Stream,
    rows: &TensorRef<'a>,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Result<TensorMut<'a>> {
    let address = rows.address() + (offset * rows.dtype().size()) as u64;
    // SAFETY: the same elements of the same operand, each of which is written through one view only.
    unsafe { TensorMut::from_raw(stream.device(), address, rows.dtype(), shape, strides) }
}

/// Strides of a cache without gaps, `[page, slot, head, element]`.
fn compact_strides(shape: Shape, order: Order) -> [usize; 4] {
    let Shape { kv_heads, head_dim, page_size, .. } = shape;
    match order {
        Order::Nhd => [shape.page_elements(), kv_heads * head_dim, head_dim, 1],
        Order::Hnd => [shape.page_elements(), head_dim, page_size * head_dim, 1],
    }
}

/// Bytes of q_out and both caches by the CPU reference, which rounds as the kernel does.
fn reference(
    [dtype, cache_dtype]: [DType; 2],
    shape: Shape,
    order: Order,
    inputs: &Inputs,
) -> Result<[Vec<u8>; 3]> {
    let Shape { tokens, q_heads, head_dim, pages, .. } = shape;
    let mut cpu: Cpu<f32> = cpu();
    let num_positions = inputs.cos_sin.len() / head_dim;
    let list = |cpu: &mut Cpu<f32>, dtype, bytes: Vec<u8>| -> Result<Tensor<CpuBuffer>> {
        let mut list = cpu.alloc(dtype, &[tokens])?;
        cpu.upload(list.view_mut(), &bytes)?;
        Ok(list)
    };
    // The reference refuses what the kernel bounds.
    let known = |&position: &i32| (0..num_positions as i32).contains(&position);
    let positions = inputs.positions.iter().map(|p| if known(p) { *p } else { num_positions as i32 - 1 });
    let positions = list(&mut cpu, DType::I32, positions.flat_map(i32::to_le_bytes).collect())?;
    let slots = inputs.slots.iter().map(|&slot| if slot < shape.slots() as i64 { slot } else { -1 });
    let slots = list(&mut cpu, DType::I64, slots.flat_map(i64::to_le_bytes).collect())?;
    let qkv = tensor(dtype, &[tokens, shape.width()], &inputs.qkv)?;
    let cos_sin = tensor(DType::F32, &[num_positions, head_dim], &inputs.cos_sin)?;
    let mut q_out = cpu.alloc(dtype, &[tokens, q_heads, head_dim])?;
    let paged = [pages, shape.page_elements()];
    let [k_scale, v_scale] = scales(dtype, cache_dtype);
    let mut k = tensor(cache_dtype, &paged, &inputs.caches[0])?;
    let mut v = tensor(cache_dtype, &paged, &inputs.caches[1])?;
    let layout = Layout::strided(&shape.cache(), &compact_strides(shape, order), 0)?;
    cpu.rope_append_kv(backend::RopeAppendKv {
        qkv: qkv.view(),
        positions: positions.view(),
        slot_mapping: slots.view(),
        cos_sin: cos_sin.view(),
        q_out: q_out.view_mut(),
        cache: PagedCacheMut {
            k: ViewMut { layout, ..k.view_mut() },
            v: ViewMut { layout, ..v.view_mut() },
            k_scale,
            v_scale,
        },
    })?;
    Ok([bytes(&q_out)?, bytes(&k)?, bytes(&v)?])
}
