//! What the fuzz targets share.

pub mod json_mutator;
pub mod targets;
