//! What weights that come as e4m3 codes are checked for.

use super::fp8;
use super::source::{COLUMN_MULTIPLE, ROW_MULTIPLE};
use crate::{Error, Result};

/// Checks that there are codes `[n, k]`, `n` a multiple of 8 and `k` of 16, and no NaN among them: every result of their row
/// would be one.
pub(super) fn check_codes(op: &'static str, [n, k]: [usize; 2], codes: &[u8]) -> Result<()> {
    let wrong = |expected: String, given: String| Err(Error::argument(op, "codes", expected, given));
    if !n.is_multiple_of(ROW_MULTIPLE) {
        return wrong(format!("rows in a multiple of {ROW_MULTIPLE}"), format!("{n} rows"));
    }
    if k == 0 || !k.is_multiple_of(COLUMN_MULTIPLE) {
        return wrong(format!("columns in a multiple of {COLUMN_MULTIPLE}"), format!("{k} columns"));
    }
    if n.checked_mul(k) != Some(codes.len()) {
        return wrong(format!("[{n}, {k}] codes"), format!("{}", codes.len()));
    }
    match codes.iter().position(|code| code & 0x7F == fp8::NAN) {
        None => Ok(()),
        Some(at) => wrong("numbers".into(), format!("NaN at row {}, column {}", at / k, at % k)),
    }
}

/// Checks that there are finite scales `shape`.
pub(super) fn check_scales(op: &'static str, shape: [usize; 2], scales: &[f32]) -> Result<()> {
    let wrong = |expected: String, given: String| Err(Error::argument(op, "scales", expected, given));
    if scales.len() != shape[0] * shape[1] {
        return wrong(format!("{shape:?} scales"), format!("{}", scales.len()));
    }
    match scales.iter().position(|scale| !scale.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let given = format!("{} at [{}, {}]", scales[at], at / shape[1], at % shape[1]);
            wrong("finite numbers".into(), given)
        }
    }
}
