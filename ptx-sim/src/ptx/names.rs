//! What the names of a function mean in nested scopes.

use std::collections::HashMap;

use super::ast::{Register, RegisterId, Type, VariableId};
use super::lexer::clip;

/// What a name in a function stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Name {
    Register(RegisterId),
    Variable(VariableId),
}

/// A name declared by itself, and how deep its scope is.
#[derive(Clone, Copy, Debug)]
struct Single {
    depth: usize,
    name: Name,
}

/// `%r<count>`: `%r0`, `%r1` and so on. They become registers when they are first used, so that a short text cannot
/// ask for billions of them.
#[derive(Clone, Copy, Debug)]
struct Range {
    depth: usize,
    /// Tells ranges of the same prefix apart.
    number: u32,
    count: u32,
    ty: Type,
}

/// What a scope hid, for its end.
#[derive(Debug)]
enum Hidden<'a> {
    Single(&'a str, Option<Single>),
    /// A range was added to those of its prefix.
    Range(&'a str),
}

/// The registers and variables of a function by name.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    singles: HashMap<&'a str, Single>,
    /// By prefix, innermost last: an inner range hides only those registers of an outer one that it has itself.
    ranges: HashMap<&'a str, Vec<Range>>,
    /// Registers of ranges that have been used: by number of the range and index in it.
    used: HashMap<(u32, u32), RegisterId>,
    hidden: Vec<Hidden<'a>>,
    /// For each open scope, what was hidden before it.
    scopes: Vec<usize>,
    numbered: u32,
}

/// The most digits that a 32-bit index has.
const MAX_DIGITS: usize = 10;

impl<'a> Names<'a> {
    /// Opens a scope.
    pub fn open(&mut self) {
        self.scopes.push(self.hidden.len());
    }

    /// Closes the innermost scope: what it declared is gone, what it hid is back.
    pub fn close(&mut self) {
        let keep = self.scopes.pop().unwrap_or_default();
        for hidden in self.hidden.drain(keep..).rev() {
            match hidden {
                Hidden::Single(name, Some(before)) => drop(self.singles.insert(name, before)),
                Hidden::Single(name, None) => drop(self.singles.remove(name)),
                Hidden::Range(prefix) => {
                    if let Some(ranges) = self.ranges.get_mut(prefix) {
                        ranges.pop();
                    }
                }
            }
        }
    }

    /// Declares a name in the innermost scope.
    pub fn declare(&mut self, word: &'a str, name: Name) -> Result<(), String> {
        let depth = self.scopes.len();
        let in_range = self.range_of(word).is_some_and(|(range, _)| range.depth == depth);
        if in_range || self.singles.get(word).is_some_and(|single| single.depth == depth) {
            return Err(format!("`{}` is declared twice in the same scope", clip(word)));
        }
        let before = self.singles.insert(word, Single { depth, name });
        self.hidden.push(Hidden::Single(word, before));
        Ok(())
    }

    /// Declares registers `prefix0` to `prefix(count - 1)`.
    pub fn declare_range(&mut self, prefix: &'a str, count: u32, ty: Type) -> Result<(), String> {
        let depth = self.scopes.len();
        let ranges = self.ranges.entry(prefix).or_default();
        if ranges.last().is_some_and(|range| range.depth == depth) {
            return Err(format!("`{}<…>` is declared twice in the same scope", clip(prefix)));
        }
        self.numbered += 1;
        ranges.push(Range { depth, number: self.numbered, count, ty });
        self.hidden.push(Hidden::Range(prefix));
        Ok(())
    }

    /// The innermost range that has a register of this name, and its index there.
    fn range_of(&self, word: &str) -> Option<(Range, u32)> {
        let digits = word.bytes().rev().take(MAX_DIGITS).take_while(u8::is_ascii_digit).count();
        // `%r12` may be number 12 of `%r` or number 2 of `%r1`.
        (1..=digits)
            .filter_map(|length| {
                let (prefix, index) = word.split_at(word.len() - length);
                if length > 1 && index.starts_with('0') {
                    return None;
                }
                let index: u32 = index.parse().ok()?;
                let range = self.ranges.get(prefix)?.iter().rev().find(|range| index < range.count)?;
                Some((*range, index))
            })
            .max_by_key(|(range, _)| range.depth)
    }

    /// What a name means here; a register of a range is added to `registers` at its first use.
    pub fn lookup(&mut self, word: &str, registers: &mut Vec<Register>) -> Option<Name> {
        let single = self.singles.get(word).copied();
        let range =
            self.range_of(word).filter(|(range, _)| single.is_none_or(|single| single.depth < range.depth));
        let Some((range, index)) = range else {
            return single.map(|single| single.name);
        };
        let id = *self.used.entry((range.number, index)).or_insert_with(|| {
            registers.push(Register { name: word.to_owned(), ty: range.ty });
            RegisterId(registers.len() as u32 - 1)
        });
        Some(Name::Register(id))
    }
}
