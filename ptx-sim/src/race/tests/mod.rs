//! The engine against a naive oracle, on random programs.

mod differential;
mod oracle;
