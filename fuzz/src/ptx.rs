//! The simulated GPU's reader of PTX. Its own tests run the same over damaged copies of `ptx-sim/tests/ptx`.

/// A PTX file: read, or refused with a message that is short and safe to print.
pub fn ptx(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = ptx_sim::fuzz_parse(text) {
        let message = error.to_string();
        assert!(message.len() < 4096, "a message of {} bytes", message.len());
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}
