use llama_kernels::backend::{Backend, Embed, GatherRows, RowOrder, WeightFormat, WeightSource};
use llama_kernels::reference::{CpuBuffer, CpuWeight, Real};
use llama_kernels::tensor::{DType, Tensor, View, ViewMut};

use super::support::*;

fn table(dtype: DType, shape: [usize; 2], values: &[f64]) -> CpuWeight {
    let parts = vec![host(dtype, &shape, values)];
    cpu::<f32>()
        .load_weight(WeightSource {
            parts,
            biases: Vec::new(),
            rows: RowOrder::Concatenated,
            format: WeightFormat::Native,
        })
        .unwrap()
}

fn embed<A: Real>(ids: &[f64], table: &CpuWeight, out: &mut Tensor<CpuBuffer>) -> llama_kernels::Result<()> {
    let ids = tensor(DType::I32, &[ids.len()], ids);
    cpu::<A>().embed(Embed { ids: ids.view(), table, out: out.view_mut() })
}

#[test]
fn embed_copies_rows() {
    let mut rng = Rng(1);
    for table_dtype in [DType::F32, DType::BF16, DType::F16, DType::F64] {
        for (vocabulary, width) in [(1, 1), (113, 203), (17, 64)] {
            let values_of_table = rng.normal(DType::BF16, vocabulary * width, 1.0);
            let table = table(table_dtype, [vocabulary, width], &values_of_table);
            for tokens in [0, 1, 5] {
                let ids: Vec<f64> = (0..tokens).map(|_| rng.below(vocabulary) as f64).collect();
                let expected: Vec<f64> = ids
                    .iter()
                    .flat_map(|&id| values_of_table[id as usize * width..][..width].to_vec())
                    .collect();
                for dtype in [DType::F64, DType::F32, DType::BF16] {
                    let mut out = poisoned(dtype, &[tokens, width]);
                    embed::<f32>(&ids, &table, &mut out).unwrap();
                    assert_eq!(values(&out), expected);
                    embed::<f64>(&ids, &table, &mut out).unwrap();
                    assert_eq!(values(&out), expected);
                }
            }
        }
    }
}

#[test]
fn embed_refuses_ids_outside_the_table_and_writes_nothing() {
    let table = table(DType::F32, [3, 2], &[0.0; 6]);
    let mut out = poisoned(DType::F32, &[2, 2]);
    refused(
        embed::<f32>(&[2.0, 3.0], &table, &mut out),
        "embed: ids: expected values within 0..3, got 3 at 1",
    );
    refused(
        embed::<f32>(&[-1.0, 0.0], &table, &mut out),
        "embed: ids: expected values within 0..3, got -1 at 0",
    );
    refused(embed::<f32>(&[0.0], &table, &mut out), "embed: out: expected shape [1, 2], got [2, 2]");
    assert!(values(&out).iter().all(|x| x.is_nan()));
}

#[test]
fn gather_rows_reads_and_writes_through_strides() {
    let mut rng = Rng(2);
    let x = rng.normal(DType::F16, 7 * 13 + 5 + 6 * 3, 1.0);
    let buffer = tensor(DType::F16, &[x.len()], &x);
    let layout = with_gaps(7, 13);
    let source = View { layout, ..buffer.view() };
    for rows in [vec![], vec![6.0], vec![0.0, 0.0, 5.0, 2.0]] {
        let n = rows.len();
        let rows_tensor = tensor(DType::I32, &[n], &rows);
        let mut out = poisoned(DType::F32, &[5 + n * 16]);
        let written = ViewMut { layout: with_gaps(n, 13), ..out.view_mut() };
        cpu::<f32>().gather_rows(GatherRows { x: source, rows: rows_tensor.view(), out: written }).unwrap();
        let mut expected = vec![f64::NAN; 5 + n * 16];
        for (r, &row) in rows.iter().enumerate() {
            expected[5 + r * 16..][..13].copy_from_slice(&x[5 + row as usize * 16..][..13]);
        }
        // What stands between the rows is left alone.
        assert_eq!(format!("{:?}", values(&out)), format!("{expected:?}"));
    }
    let rows = tensor(DType::I32, &[1], &[7.0]);
    let mut out = poisoned(DType::F32, &[1, 13]);
    refused(
        cpu::<f32>().gather_rows(GatherRows { x: source, rows: rows.view(), out: out.view_mut() }),
        "gather_rows: rows: expected values within 0..7, got 7 at 0",
    );
}
