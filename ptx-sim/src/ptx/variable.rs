//! Declarations of variables and parameters.

use super::ast::{Space, Type, Variable};
use super::cursor::Cursor;
use super::initializer::{Shape, initializer};
use super::lexer::{Kind, clip};
use crate::error::{Error, Result};

/// `[a][b][c]…`.
const MAX_DIMENSIONS: usize = 16;
/// Larger than any GPU's memory; so small that sums of sizes cannot overflow.
const MAX_SIZE: u64 = 1 << 40;
/// As much as a page of memory could ever be aligned to.
const MAX_ALIGN: u64 = 1 << 20;

/// What a declaration says before its names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declaration {
    pub space: Space,
    pub is_extern: bool,
    align: Option<u64>,
    /// Elements of `.v2` and `.v4`; else 1.
    vector: u32,
    pub ty: Type,
}

/// Where arrays without a size may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsized {
    /// `.extern` arrays.
    Extern,
    /// The last parameter of a device function as well.
    Parameter,
}

/// The state space that a directive names.
pub(super) fn space(word: &str) -> Option<Space> {
    Some(match word {
        "global" => Space::Global,
        "const" => Space::Const,
        "shared" => Space::Shared,
        "local" => Space::Local,
        "param" => Space::Param,
        _ => return None,
    })
}

/// `.align`, `.attribute`, `.v2`, the type and `.ptr`, in any order, up to the first name.
pub(super) fn declaration(cursor: &mut Cursor<'_>, space: Space, is_extern: bool) -> Result<Declaration> {
    let mut align = None;
    let mut vector = 1;
    let mut ty = None;
    while let Kind::Dot(word) = cursor.token.kind {
        match word {
            "align" => {
                cursor.advance()?;
                align = Some(alignment(cursor)?);
                continue;
            }
            "attribute" => {
                attributes(cursor)?;
                continue;
            }
            "ptr" if space == Space::Param => {
                pointee(cursor)?;
                continue;
            }
            "v2" => vector = 2,
            "v4" => vector = 4,
            _ => match Type::parse(word) {
                Some(found) if ty.is_none() => ty = Some(found),
                Some(_) => return cursor.expected("only one type"),
                None => return cursor.expected("a type or an attribute of a variable"),
            },
        }
        cursor.advance()?;
    }
    let Some(ty) = ty else {
        return cursor.expected("a type");
    };
    if ty == Type::Pred {
        return cursor.error("predicates are registers: a variable cannot be of type `.pred`");
    }
    Ok(Declaration { space, is_extern, align, vector, ty })
}

/// A power of two.
fn alignment(cursor: &mut Cursor<'_>) -> Result<u64> {
    let line = cursor.token.line;
    let align = cursor.unsigned("an alignment")?;
    if !align.is_power_of_two() || align > MAX_ALIGN {
        let message =
            format!("expected an alignment that is a power of two up to {MAX_ALIGN}, found {align}");
        return Err(Error::syntax(line, message));
    }
    Ok(align)
}

/// `.attribute(.managed, .unified(a, b))`: where the variable lies on a machine with several devices.
pub(super) fn attributes(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.advance()?;
    cursor.expect("(")?;
    loop {
        if cursor.accept_dot("unified")? {
            cursor.expect("(")?;
            cursor.integer()?;
            cursor.expect(",")?;
            cursor.integer()?;
            cursor.expect(")")?;
        } else if !cursor.accept_dot("managed")? {
            return cursor.expected("`.managed` or `.unified`");
        }
        if !cursor.accept(",")? {
            return cursor.expect(")");
        }
    }
}

/// `.ptr`, and the space and alignment of what the parameter points to: a promise, not a property of the parameter.
fn pointee(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.advance()?;
    if let Kind::Dot("global" | "const" | "shared" | "local") = cursor.token.kind {
        cursor.advance()?;
    }
    if cursor.accept_dot("align")? {
        alignment(cursor)?;
    }
    Ok(())
}

/// A name with its array sizes and initialiser.
pub(super) fn declarator<'a>(
    cursor: &mut Cursor<'a>,
    declaration: &Declaration,
    allowed: Unsized,
) -> Result<(&'a str, Variable)> {
    let line = cursor.token.line;
    let name = cursor.word("the name of a variable")?;
    if cursor.at("<") {
        return cursor.error("numbered names such as `%r<10>` are supported for registers only");
    }
    let Declaration { space, is_extern, align, vector, ty } = *declaration;
    let mut shape = Shape { ty, dimensions: Vec::new(), unsized_first: false };
    while cursor.accept("[")? {
        if shape.dimensions.len() == MAX_DIMENSIONS {
            return cursor.error(format!("an array has more than {MAX_DIMENSIONS} dimensions"));
        }
        if cursor.at("]") && shape.dimensions.is_empty() {
            shape.unsized_first = true;
            shape.dimensions.push(0);
        } else {
            shape.dimensions.push(cursor.unsigned("the size of an array")?);
        }
        cursor.expect("]")?;
    }
    let element = u64::from(ty.bytes()) * u64::from(vector);
    if vector > 1 {
        shape.dimensions.push(vector.into());
    }
    let Some(mut size) = shape.size().filter(|&size| size <= MAX_SIZE) else {
        return Err(Error::syntax(line, format!("`{}` is larger than {MAX_SIZE} bytes", clip(name))));
    };
    let mut initial = Vec::new();
    let mut relocations = Vec::new();
    if cursor.at("=") {
        if is_extern || !matches!(space, Space::Global | Space::Const) {
            return cursor
                .error("only `.global` and `.const` variables that are not `.extern` can be initialised");
        }
        cursor.advance()?;
        let values = initializer(cursor, &shape)?;
        if shape.unsized_first {
            size = values.size;
            if size > MAX_SIZE {
                return Err(Error::syntax(line, format!("`{}` is larger than {MAX_SIZE} bytes", clip(name))));
            }
        }
        (initial, relocations) = (values.bytes, values.relocations);
    } else if shape.unsized_first && !is_extern && allowed != Unsized::Parameter {
        return Err(Error::syntax(line, format!("the array `{}` has no size", clip(name))));
    }
    let align = align.unwrap_or(element);
    let name_owned = name.to_owned();
    Ok((name, Variable { name: name_owned, line, space, ty, size, align, is_extern, initial, relocations }))
}
