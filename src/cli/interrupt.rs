//! Ctrl-C: the first one asks the work under way to end, so that it can clean up; a second one, or one while nothing is
//! under way, ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

static WORKING: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C over. Where the system does not let us, it keeps its usual effect.
pub fn install() {
    let handler = || {
        if !WORKING.load(Ordering::SeqCst) || REQUESTED.swap(true, Ordering::SeqCst) {
            exit();
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        log::warn!("Ctrl-C cannot be handled: {error}");
    }
}

/// 130 is the shell's convention for "ended by Ctrl-C".
#[expect(clippy::exit, reason = "what Ctrl-C does without a handler")]
fn exit() -> ! {
    std::process::exit(130)
}

/// While this lives, Ctrl-C only sets [`requested`].
pub struct Work;

impl Work {
    pub fn begin() -> Self {
        REQUESTED.store(false, Ordering::SeqCst);
        WORKING.store(true, Ordering::SeqCst);
        Work
    }

    /// Whether Ctrl-C was pressed since the work began.
    pub fn interrupted(&self) -> bool {
        REQUESTED.load(Ordering::SeqCst)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        WORKING.store(false, Ordering::SeqCst);
    }
}
