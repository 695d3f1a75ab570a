//! `wgmma`: products of a whole warpgroup, B and often A of which lie in shared memory.
//!
//! Each warp has 16 of the 64 rows, in fragments that are those of `mma.sync` one after another; so a warp's part is as
//! many products of 16 rows and 8 columns as there are groups of 8 columns.

mod descriptor;
mod form;
mod layout;
mod multiply;

pub(crate) use descriptor::Descriptor;
pub(crate) use form::WgmmaForm;
pub(crate) use layout::{Major, row_of_a};
pub(crate) use multiply::{ARows, BColumns};
