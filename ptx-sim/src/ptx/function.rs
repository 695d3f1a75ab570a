//! `.entry` and `.func`: names, parameters and performance directives.

use std::collections::HashMap;

use super::ast::{Directives, Function, SourceLine, Space, VariableId};
use super::cursor::Cursor;
use super::lexer::Kind;
use super::module::Global;
use super::names::{Name, Names};
use super::statement::Body;
use super::variable::{self, Unsized};
use crate::error::{Error, Result};

/// A function up to its body.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub name: &'a str,
    pub function: Function,
    /// Two parameters of one name: wrong only where there is a body, for nvcc emits such declarations.
    pub duplicate: Option<Error>,
    names: Names<'a>,
}

impl<'a> Header<'a> {
    fn new(is_kernel: bool, line: u32) -> Self {
        let function = Function {
            name: String::new(),
            is_kernel,
            line,
            returns: Vec::new(),
            params: Vec::new(),
            directives: Directives::default(),
            registers: Vec::new(),
            variables: Vec::new(),
            labels: Vec::new(),
            tables: Vec::new(),
            body: None,
        };
        Self { name: "", function, duplicate: None, names: Names::default() }
    }

    /// The function with the body that the cursor stands before.
    pub fn body(self, cursor: &mut Cursor<'a>, globals: &HashMap<&'a str, Global>) -> Result<Function> {
        Body::new(cursor, globals, self.function, self.names).read()
    }

    /// `(.param .b32 a, .param .b64 b)`, if it is there.
    fn parameters(&mut self, cursor: &mut Cursor<'a>, allowed: Unsized) -> Result<Vec<VariableId>> {
        let mut ids = Vec::new();
        if !cursor.accept("(")? || cursor.accept(")")? {
            return Ok(ids);
        }
        loop {
            if matches!(cursor.token.kind, Kind::Dot("reg")) {
                return cursor.error("parameters in registers are not supported; expected `.param`");
            }
            if !cursor.accept_dot("param")? {
                return cursor.expected("`.param`");
            }
            let declaration = variable::declaration(cursor, Space::Param, false)?;
            let (name, variable) = variable::declarator(cursor, &declaration, allowed)?;
            if variable.size == 0 && cursor.at(",") {
                return cursor.error("only the last parameter can be an array without a size");
            }
            let id = VariableId(self.function.variables.len() as u32);
            if let Err(message) = self.names.declare(name, Name::Variable(id)) {
                self.duplicate.get_or_insert(Error::syntax(variable.line, message));
            }
            self.function.variables.push(variable);
            ids.push(id);
            if !cursor.accept(",")? {
                cursor.expect(")")?;
                return Ok(ids);
            }
        }
    }
}

/// A function from after `.entry` or `.func` to before its body.
pub(super) fn header<'a>(cursor: &mut Cursor<'a>, is_kernel: bool) -> Result<Header<'a>> {
    let mut header = Header::new(is_kernel, cursor.token.line);
    if cursor.token.kind == Kind::Dot("attribute") {
        variable::attributes(cursor)?;
    }
    if !is_kernel {
        header.function.returns = header.parameters(cursor, Unsized::Extern)?;
    }
    header.function.line = cursor.token.line;
    header.name = cursor.word("the name of a function")?;
    header.function.name = header.name.to_owned();
    let allowed = if is_kernel { Unsized::Extern } else { Unsized::Parameter };
    header.function.params = header.parameters(cursor, allowed)?;
    directives(cursor, &mut header.function.directives)?;
    if !cursor.at("{") && !cursor.at(";") {
        return cursor.expected("`{`, `;` or a performance directive");
    }
    Ok(header)
}

/// The rest of `.callprototype`, whose names mean nothing.
pub(super) fn prototype(cursor: &mut Cursor<'_>) -> Result<()> {
    let mut header = Header::new(false, cursor.token.line);
    header.parameters(cursor, Unsized::Extern)?;
    cursor.word("`_`")?;
    header.parameters(cursor, Unsized::Parameter)?;
    directives(cursor, &mut Directives::default())
}

/// `.maxntid` and the like, up to something else.
fn directives(cursor: &mut Cursor<'_>, directives: &mut Directives) -> Result<()> {
    while let Kind::Dot(word) = cursor.token.kind {
        if word == "pragma" {
            pragma(cursor)?;
            continue;
        }
        cursor.advance()?;
        match word {
            "maxntid" => directives.max_block = Some(cursor.dimensions("a number of threads")?),
            "reqntid" => directives.required_block = Some(cursor.dimensions("a number of threads")?),
            "minnctapersm" => directives.min_blocks_per_sm = Some(cursor.number("a number of blocks")?),
            // The old name of the same.
            "maxnctapersm" => directives.min_blocks_per_sm = Some(cursor.number("a number of blocks")?),
            "maxnreg" => directives.max_registers = Some(cursor.number("a number of registers")?),
            "reqnctapercluster" => {
                directives.required_cluster = Some(cursor.dimensions("a number of blocks")?);
            }
            "explicitcluster" => directives.explicit_cluster = true,
            "maxclusterrank" => directives.max_cluster_rank = Some(cursor.number("a number of blocks")?),
            "blocksareclusters" => directives.blocks_are_clusters = true,
            // Hints for register allocation.
            "noreturn" => {}
            "abi_preserve" | "abi_preserve_control" => drop(cursor.number("a number of registers")?),
            _ => {
                let message = format!(
                    "expected a performance directive or `{{`, found `.{}`",
                    super::lexer::clip(word)
                );
                return Err(Error::syntax(cursor.line, message));
            }
        }
    }
    Ok(())
}

/// `.pragma "a", "b";`: advice to another compiler.
pub(super) fn pragma(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.advance()?;
    loop {
        cursor.text("a string")?;
        if !cursor.accept(",")? {
            return cursor.expect(";");
        }
    }
}

/// `.loc file line column`, and for inlined code where the function was inlined: the first place is the innermost. Line
/// 0 means that the code belongs to no line.
pub(super) fn location(cursor: &mut Cursor<'_>) -> Result<Option<SourceLine>> {
    cursor.advance()?;
    let place = |cursor: &mut Cursor<'_>| -> Result<SourceLine> {
        let file = cursor.number("the number of a file")?;
        let line = cursor.number("a line")?;
        cursor.number("a column")?;
        Ok(SourceLine { file, line, inlined_at: None })
    };
    let mut innermost = place(cursor)?;
    while cursor.accept(",")? {
        match cursor.token.kind {
            Kind::Word("function_name") => {
                cursor.advance()?;
                let (Kind::Word(_) | Kind::Dot(_)) = cursor.token.kind else {
                    return cursor.expected("a label in `.debug_str`");
                };
                cursor.advance()?;
                cursor.offset()?;
            }
            Kind::Word("inlined_at") => {
                cursor.advance()?;
                let call = place(cursor)?;
                innermost.inlined_at = (call.line > 0).then_some((call.file, call.line));
            }
            _ => return cursor.expected("`function_name` or `inlined_at`"),
        }
    }
    Ok((innermost.line > 0).then_some(innermost))
}
