//! Reading PTX.
//!
//! [`lexer`] makes tokens, [`cursor`] hands them out, [`expression`] folds constants, [`variable`] and
//! [`initializer`] read declarations, [`module`], [`function`], [`statement`] and [`operand`] read what their names
//! say, and [`names`] knows what a name means in nested scopes. A file is hostile until it is read: nesting is
//! bounded, sizes are checked, and nothing is allocated that its text does not justify.

pub mod ast;
mod cursor;
mod expression;
mod function;
mod initializer;
mod lexer;
mod module;
mod names;
mod operand;
mod statement;
#[cfg(test)]
mod tests;
mod variable;

use crate::error::Result;

/// The syntax tree of a PTX file.
///
/// # Errors
/// [`crate::Error::Syntax`] with the line, what was expected there and what was found.
pub(crate) fn parse(text: &str) -> Result<ast::Module> {
    module::parse(text)
}
