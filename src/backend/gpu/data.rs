//! What kernels report of data that only they see.

use crate::Error;
use crate::params::{
    DEVICE_ERROR_COLUMN, DEVICE_ERROR_LENGTH, DEVICE_ERROR_PAGE, DEVICE_ERROR_POSITION,
    DEVICE_ERROR_ROW_INDEX, DEVICE_ERROR_SEEN_ROW, DEVICE_ERROR_SLOT, DEVICE_ERROR_TOKEN_ID,
};

const BITS: [(u32, &str); 8] = [
    (DEVICE_ERROR_TOKEN_ID, "a token id lay outside the embedding table (its row is zero)"),
    (DEVICE_ERROR_ROW_INDEX, "a row index lay outside its tensor (its row is zero)"),
    (DEVICE_ERROR_POSITION, "a position lay outside the table of cosines and sines (its last row was taken)"),
    (DEVICE_ERROR_SLOT, "a slot lay outside the KV cache (nothing was stored)"),
    (DEVICE_ERROR_PAGE, "a page lay outside the KV cache (the nearest was read)"),
    (DEVICE_ERROR_LENGTH, "a length or an offset of the batch contradicts the others (it was bounded)"),
    (DEVICE_ERROR_SEEN_ROW, "a row of seen tokens was named that is not there (the row of logits had none)"),
    (DEVICE_ERROR_COLUMN, "a column index lay outside the row (zero was written)"),
];

/// The error that the bits of a device error word stand for; `None` for none.
pub(super) fn error(word: u32) -> Option<Error> {
    if word == 0 {
        return None;
    }
    let mut what: Vec<&str> = BITS.iter().filter(|(bit, _)| word & bit != 0).map(|&(_, text)| text).collect();
    if BITS.iter().fold(word, |rest, (bit, _)| rest & !bit) != 0 {
        what.push("a kernel reported what this library does not know");
    }
    Some(Error::DeviceData { what: what.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_its_words() {
        assert!(error(0).is_none());
        let text = error(DEVICE_ERROR_TOKEN_ID | DEVICE_ERROR_PAGE).unwrap().to_string();
        assert_eq!(
            text,
            "on the device: a token id lay outside the embedding table (its row is zero); \
             a page lay outside the KV cache (the nearest was read)"
        );
        let texts: std::collections::HashSet<String> =
            (0..9).map(|bit| error(1 << bit).unwrap().to_string()).collect();
        assert_eq!(texts.len(), 9, "eight known bits, and one that is not");
    }
}
