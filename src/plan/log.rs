//! Shows plans to a user who asks for them.

#[cfg(feature = "kernels")]
use std::collections::HashSet;
#[cfg(feature = "kernels")]
use std::sync::{Mutex, OnceLock, PoisonError};

#[cfg(feature = "kernels")]
use super::Plan;

/// The environment variable that has each plan printed on stderr, once, when it is first launched: `plan`.
pub const LOG_VARIABLE: &str = "LLAMA_KERNELS_LOG";

#[cfg(feature = "kernels")]
impl Plan {
    /// Prints the plan if [`LOG_VARIABLE`] asks for plans and this one has not been printed yet.
    pub(crate) fn show(&self) {
        static SHOWN: OnceLock<Option<Mutex<HashSet<Plan>>>> = OnceLock::new();
        let wanted = || std::env::var_os(LOG_VARIABLE).is_some_and(|value| value == "plan");
        let Some(shown) = SHOWN.get_or_init(|| wanted().then(Mutex::default)) else { return };
        // A thread that panicked while it held the lock has left the set whole.
        if shown.lock().unwrap_or_else(PoisonError::into_inner).insert(*self) {
            eprintln!("{self}");
        }
    }
}
