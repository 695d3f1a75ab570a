//! Weights whose groups are no neighbours ("act-order", GPTQ's `desc_act`): made neighbours by another order of columns.
//!
//! A product does not mind the order of its columns as long as the activations have it too. So whoever writes the activations
//! writes them in the weight's order: a norm, a gather in front of o_proj, or, for down_proj, the weights in front of it,
//! whose rows [`Int4::permute_rows`] puts into the order of down_proj's columns.

use super::{Int4, Int4Parts, OP};
use crate::{Error, Result, par};

impl Int4 {
    /// A weight whose column `i` belongs to group `g_idx[i]`, and the order that its columns now have: sorted by group, and
    /// within one as they were. Column `j` of the weight was column `order[j]` of `parts`, so
    /// `y[n] = sum_j x[order[j]] * w[n,j]`.
    ///
    /// [`Error::Argument`] as from [`Int4::new`]; where `g_idx` does not have `k` elements, names a group that is not there
    /// (with its column), or gives a group more or fewer columns than its size.
    pub fn with_order(parts: Int4Parts, g_idx: &[i32]) -> Result<(Self, Vec<u32>)> {
        let Int4(parts) = Int4::new(parts)?;
        let (k, group) = (parts.k, parts.group_size.columns(parts.k));
        let order = order(g_idx, k, group)?;
        if order.iter().zip(0..).all(|(&from, to)| from == to) {
            return Ok((Int4(parts), order));
        }
        let mut codes = vec![0; parts.codes.len()];
        par::chunks(&mut codes, k / 2, |row, out| {
            let from = &parts.codes[row * (k / 2)..][..k / 2];
            let code = |column: u32| from[column as usize / 2] >> (column % 2 * 4) & 15;
            for (out, pair) in out.iter_mut().zip(order.as_chunks::<2>().0) {
                *out = code(pair[0]) | code(pair[1]) << 4;
            }
        });
        Ok((Int4(Int4Parts { codes, ..parts }), order))
    }

    /// The weight whose row `j` is this one's row `order[j]`. With the order of down_proj's columns for gate and for up, their
    /// product arrives in that order. (Both are permuted before their rows are interleaved.)
    ///
    /// [`Error::Argument`] where `order` does not have each of the rows once.
    pub fn permute_rows(&self, order: &[u32]) -> Result<Self> {
        let Int4Parts { n, k, group_size, dtype, codes, scales, zeros } = &self.0;
        if order.len() != *n {
            return Err(Error::argument(OP, "order", format!("{n} rows"), order.len()));
        }
        let mut seen = vec![false; *n];
        for (to, &from) in order.iter().enumerate() {
            if seen.get_mut(from as usize).is_none_or(|seen| std::mem::replace(seen, true)) {
                let expected = format!("each row below {n} once");
                return Err(Error::argument(OP, "order", expected, format!("{from} at {to}")));
            }
        }
        let groups = k / group_size.columns(*k);
        Ok(Int4(Int4Parts {
            n: *n,
            k: *k,
            group_size: *group_size,
            dtype: *dtype,
            codes: permuted(codes, k / 2, order),
            scales: permuted(scales, groups, order),
            zeros: zeros.as_ref().map(|zeros| permuted(zeros, groups, order)),
        }))
    }
}

/// Rows of `width` elements in another order.
fn permuted<T: Copy>(rows: &[T], width: usize, order: &[u32]) -> Vec<T> {
    let mut all = Vec::with_capacity(rows.len());
    order.iter().for_each(|&row| all.extend_from_slice(&rows[row as usize * width..][..width]));
    all
}

/// Columns sorted by group: where each comes from.
fn order(g_idx: &[i32], k: usize, group: usize) -> Result<Vec<u32>> {
    let wrong = |expected: String, given: String| Err(Error::argument(OP, "g_idx", expected, given));
    if g_idx.len() != k {
        return wrong(format!("{k} elements"), g_idx.len().to_string());
    }
    let groups = k / group;
    let Ok(columns) = u32::try_from(k) else { return wrong("fewer than 2^32 columns".into(), k.to_string()) };
    // How many columns each group has had.
    let mut counts = vec![0; groups];
    let mut order = vec![0; k];
    for (column, &of) in (0..columns).zip(g_idx) {
        let Some(count) = usize::try_from(of).ok().and_then(|of| counts.get_mut(of)) else {
            return wrong(format!("groups from 0 to {}", groups - 1), format!("{of} at column {column}"));
        };
        // What a group has too many of, others lack: found below.
        if *count < group {
            order[of as usize * group + *count] = column;
        }
        *count += 1;
    }
    match counts.iter().position(|&count| count != group) {
        None => Ok(order),
        Some(of) => wrong(format!("{group} columns in each group"), format!("{} in group {of}", counts[of])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GroupSize, bits};
    use super::*;
    use crate::random::SplitMix64;
    use crate::tensor::DType;

    const N: usize = 24;
    const DTYPE: DType = DType::F16;

    /// Codes of all 16 kinds; scales and zeros so small that sums are exact in any order.
    fn parts(k: usize, group_size: GroupSize, zeros: bool) -> Int4Parts {
        let mut rng = SplitMix64(7);
        let numbers = N * (k / group_size.columns(k));
        let scales = (0..numbers).map(|i| bits(DTYPE, [1.0, -2.0, 4.0, 0.5, 3.0][i % 5])).collect();
        let zeros = zeros.then(|| (0..numbers).map(|i| bits(DTYPE, (i * 7 % 17) as f32)).collect());
        let codes = (0..N * k / 2).map(|_| rng.next() as u8).collect();
        Int4Parts { n: N, k, group_size, dtype: DTYPE, codes, scales, zeros }
    }

    /// Groups in any order, each with as many columns as it should have.
    fn shuffled(k: usize, group: usize) -> Vec<i32> {
        let mut g_idx: Vec<i32> = (0..k).map(|column| (column / group) as i32).collect();
        SplitMix64(3).shuffle(&mut g_idx);
        g_idx
    }

    /// What the formats define, element by element.
    fn naive(parts: &Int4Parts, g_idx: &[i32]) -> Vec<f32> {
        let groups = parts.k / parts.group_size.columns(parts.k);
        let number = |bits: u16| super::super::value(DTYPE, bits);
        let value = |i: usize| {
            let (row, column) = (i / parts.k, i % parts.k);
            let byte = parts.codes[i / 2];
            let code = if column % 2 == 0 { byte % 16 } else { byte / 16 };
            let at = row * groups + g_idx[column] as usize;
            let zero = parts.zeros.as_ref().map_or(8.0, |zeros| number(zeros[at]));
            (f32::from(code) - zero) * number(parts.scales[at])
        };
        (0..parts.n * parts.k).map(value).collect()
    }

    fn values(weight: &Int4) -> Vec<f32> {
        let Int4Parts { n, k, .. } = *weight.parts();
        let mut all = vec![0.0; n * k];
        all.chunks_mut(k).enumerate().for_each(|(row, out)| weight.row(row, DTYPE, out));
        all
    }

    fn product(weight: &[f32], x: &[f32]) -> Vec<f32> {
        weight.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    }

    #[test]
    fn a_product_over_ordered_columns_is_that_of_the_original() {
        for (k, group_size) in
            [(96, GroupSize::Of32), (256, GroupSize::Of64), (384, GroupSize::Of128), (80, GroupSize::Row)]
        {
            for zeros in [false, true] {
                let (parts, group) = (parts(k, group_size, zeros), group_size.columns(k));
                let g_idx = shuffled(k, group);
                let original = naive(&parts, &g_idx);
                let (weight, order) = Int4::with_order(parts, &g_idx).unwrap();
                let ordered = values(&weight);
                for (row, (ordered, original)) in ordered.chunks(k).zip(original.chunks(k)).enumerate() {
                    for (j, &from) in order.iter().enumerate() {
                        assert_eq!(ordered[j], original[from as usize], "{row}, {j} from {from}");
                    }
                }
                let x: Vec<f32> = (0..k).map(|i| (i * 5 % 9) as f32 - 4.0).collect();
                let of_order: Vec<f32> = order.iter().map(|&from| x[from as usize]).collect();
                assert_eq!(product(&ordered, &of_order), product(&original, &x), "{k}, {group_size:?}");
                assert!(k == group || product(&ordered, &x) != product(&original, &x));
                // Within a group the columns keep their order.
                assert!(order.chunks(group).all(<[u32]>::is_sorted));
            }
        }
    }

    #[test]
    fn groups_in_their_place_stay_there() {
        let parts = parts(96, GroupSize::Of32, true);
        let g_idx: Vec<i32> = (0..96).map(|column| column / 32).collect();
        let (weight, order) = Int4::with_order(parts.clone(), &g_idx).unwrap();
        assert!(weight == Int4::new(parts).unwrap() && order.into_iter().eq(0..96));
    }

    #[test]
    fn what_down_proj_wants_its_rows_before_it_bring() {
        // y = down(gate(x)): gate's rows in the order of down's columns, and nothing is gathered between them.
        let (gate, down) = (parts(64, GroupSize::Of32, true), parts(96, GroupSize::Of32, false));
        let (x, g_idx) = ((0..64).map(|i| (i % 3) as f32 - 1.0).collect::<Vec<_>>(), shuffled(96, 32));
        let gate = Int4Parts {
            n: 96,
            codes: gate.codes.repeat(4),
            scales: gate.scales.repeat(4),
            zeros: gate.zeros.map(|zeros| zeros.repeat(4)),
            ..gate
        };
        let mut gate = Int4::new(gate).unwrap();
        // Rows that differ, also from those 24 before them.
        gate.0.scales.iter_mut().enumerate().for_each(|(i, scale)| *scale = bits(DTYPE, (i / 2 % 31) as f32));
        let hidden = |gate: &Int4| product(&values(gate), &x).iter().map(|h| h % 16.0).collect::<Vec<f32>>();
        let expected = product(&naive(&down, &g_idx), &hidden(&gate));
        let (down, order) = Int4::with_order(down, &g_idx).unwrap();
        let permuted = gate.permute_rows(&order).unwrap();
        assert_eq!(product(&values(&down), &hidden(&permuted)), expected);
        assert_ne!(product(&values(&down), &hidden(&gate)), expected);
        let (before, after) = (values(&gate), values(&permuted));
        for (j, &from) in order.iter().enumerate() {
            assert_eq!(after[j * 64..][..64], before[from as usize * 64..][..64], "row {j}");
        }
    }

    #[test]
    fn an_index_that_is_none_is_refused_with_its_place() {
        let error = |g_idx: &[i32]| {
            let error = Int4::with_order(parts(96, GroupSize::Of32, false), g_idx).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }));
            error.to_string()
        };
        let with = |column: usize, group: i32| {
            let mut g_idx: Vec<i32> = (0..96).map(|column| column / 32).collect();
            g_idx[column] = group;
            g_idx
        };
        assert_eq!(error(&with(40, 3)), "int4: g_idx: expected groups from 0 to 2, got 3 at column 40");
        assert_eq!(error(&with(0, -1)), "int4: g_idx: expected groups from 0 to 2, got -1 at column 0");
        assert_eq!(error(&with(95, i32::MIN)).rsplit_once(" got ").unwrap().1, "-2147483648 at column 95");
        assert_eq!(error(&with(40, 0)), "int4: g_idx: expected 32 columns in each group, got 33 in group 0");
        assert_eq!(error(&with(0, 2)), "int4: g_idx: expected 32 columns in each group, got 31 in group 0");
        assert_eq!(error(&[0; 95]), "int4: g_idx: expected 96 elements, got 95");
        assert_eq!(error(&[]), "int4: g_idx: expected 96 elements, got 0");
        // What is wrong with the arrays comes first.
        let short = Int4Parts { codes: vec![0; 3], ..parts(96, GroupSize::Of32, false) };
        let error = Int4::with_order(short, &with(0, 0)).unwrap_err().to_string();
        assert_eq!(error, "int4: codes: expected 1152 elements, got 3");
    }

    #[test]
    fn an_order_of_rows_has_each_of_them_once() {
        let weight = Int4::new(parts(32, GroupSize::Row, true)).unwrap();
        let with = |at: usize, row: u32| {
            let mut order: Vec<u32> = (0..N as u32).collect();
            order[at] = row;
            weight.permute_rows(&order).unwrap_err().to_string()
        };
        assert_eq!(with(5, 4), "int4: order: expected each row below 24 once, got 4 at 5");
        assert_eq!(with(5, 24), "int4: order: expected each row below 24 once, got 24 at 5");
        assert_eq!(with(0, u32::MAX).rsplit_once(" got ").unwrap().1, "4294967295 at 0");
        let short = weight.permute_rows(&[0, 1]).unwrap_err().to_string();
        assert_eq!(short, "int4: order: expected 24 rows, got 2");
    }
}
