//! The parameter structs as bytes.

use bytemuck::Zeroable;
use llama_kernels::params::{EmbedParams, RmsNormParams, SampleRow};

#[test]
fn a_struct_is_the_bytes_that_the_header_describes() {
    let params = EmbedParams { error: 0x0102_0304_0506_0708, vocab_size: -2, ..Default::default() };
    let bytes = bytemuck::bytes_of(&params);
    assert_eq!(bytes.len(), 64);
    assert_eq!(bytes[24..32], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes[56..60], [0xFE, 0xFF, 0xFF, 0xFF]);

    let row = SampleRow { temperature: 1.0, seen_row: -1, position: 7, ..SampleRow::zeroed() };
    let bytes = bytemuck::bytes_of(&row);
    assert_eq!(bytes.len(), 48);
    assert_eq!(bytes[..4], 1.0f32.to_le_bytes());
    assert_eq!(bytes[20..24], [0xFF; 4]);
    assert_eq!(bytes[40], 7);
    assert_eq!(bytemuck::pod_read_unaligned::<SampleRow>(bytes), row);

    let params = RmsNormParams { eps: 1e-5, ..Default::default() };
    assert_eq!(bytemuck::bytes_of(&params)[64..68], 1e-5f32.to_le_bytes());
}
