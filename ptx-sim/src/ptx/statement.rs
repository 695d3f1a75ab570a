//! The body of a function: declarations, labels and instructions in nested scopes.

use std::collections::HashMap;

use super::ast::{
    Function, Guard, Instruction, Label, LabelId, Operand, Register, RegisterId, SourceLine, Table,
    TableContent, TableId, Type, VariableId,
};
use super::cursor::Cursor;
use super::function;
use super::lexer::{Kind, clip};
use super::module::Global;
use super::names::{Name, Names};
use super::variable::{self, Unsized};
use crate::error::{Error, Result};

/// Scopes within each other. A label that is used before it stands is looked for in each of them in turn, so that
/// this bounds the time for a hostile file.
const MAX_SCOPES: usize = 64;

/// What a label names.
#[derive(Clone, Copy, Debug)]
enum Target {
    Place(LabelId),
    Table(TableId),
}

/// Where a label is named.
#[derive(Clone, Copy, Debug)]
enum Site {
    /// An operand of an instruction.
    Operand { instruction: usize, operand: usize },
    /// An entry of a `.branchtargets` table.
    Entry { table: usize, entry: usize },
}

/// A label that was named in a scope and may yet be defined there or further out.
#[derive(Clone, Debug)]
struct Reference<'a> {
    name: std::borrow::Cow<'a, str>,
    line: u32,
    site: Site,
}

#[derive(Debug, Default)]
struct Scope<'a> {
    labels: HashMap<&'a str, Target>,
    references: Vec<Reference<'a>>,
}

/// A body while it is read.
#[derive(Debug)]
pub(super) struct Body<'p, 'a> {
    pub cursor: &'p mut Cursor<'a>,
    pub globals: &'p HashMap<&'a str, Global>,
    pub function: Function,
    names: Names<'a>,
    scopes: Vec<Scope<'a>>,
    code: Vec<Instruction>,
    source: Option<SourceLine>,
}

impl<'p, 'a> Body<'p, 'a> {
    pub fn new(
        cursor: &'p mut Cursor<'a>,
        globals: &'p HashMap<&'a str, Global>,
        function: Function,
        names: Names<'a>,
    ) -> Self {
        Self { cursor, globals, function, names, scopes: Vec::new(), code: Vec::new(), source: None }
    }

    /// From `{` to its `}`.
    pub fn read(mut self) -> Result<Function> {
        let line = self.cursor.token.line;
        loop {
            match self.cursor.token.kind {
                Kind::Symbol("{") => {
                    if self.scopes.len() == MAX_SCOPES {
                        return self.cursor.error(format!("scopes are nested more than {MAX_SCOPES} deep"));
                    }
                    self.cursor.advance()?;
                    // The body itself has no scope of its own: it must not redeclare a parameter.
                    if !self.scopes.is_empty() {
                        self.names.open();
                    }
                    self.scopes.push(Scope::default());
                }
                Kind::Symbol("}") => {
                    self.close_scope()?;
                    if self.scopes.is_empty() {
                        self.cursor.advance()?;
                        self.function.body = Some(self.code);
                        return Ok(self.function);
                    }
                    self.names.close();
                    self.cursor.advance()?;
                }
                Kind::End => {
                    let message =
                        format!("expected `}}` for the `{{` of line {line}, found the end of the file");
                    return self.cursor.error(message);
                }
                _ => self.statement()?,
            }
        }
    }

    fn statement(&mut self) -> Result<()> {
        match self.cursor.token.kind {
            Kind::Symbol(";") => self.cursor.advance().map(drop),
            Kind::Symbol("@") => self.guarded(),
            Kind::Word(word) => {
                let line = self.cursor.token.line;
                self.cursor.advance()?;
                if self.cursor.accept(":")? {
                    self.label(word, line)
                } else {
                    self.instruction(word, line, None)
                }
            }
            Kind::Dot(word) => self.directive(word),
            _ => self.cursor.expected("an instruction, a label, a directive or `}`"),
        }
    }

    fn directive(&mut self, word: &'a str) -> Result<()> {
        match word {
            "loc" => self.source = function::location(self.cursor)?,
            "pragma" => function::pragma(self.cursor)?,
            "reg" => return self.registers(),
            _ => {
                let is_extern = word == "extern";
                if is_extern {
                    self.cursor.advance()?;
                }
                let space = match self.cursor.token.kind {
                    Kind::Dot(word) => variable::space(word),
                    _ => None,
                };
                let Some(space) = space else {
                    return self.cursor.expected("an instruction, `.reg` or another declaration");
                };
                self.cursor.advance()?;
                let declaration = variable::declaration(self.cursor, space, is_extern)?;
                loop {
                    let (name, variable) = variable::declarator(self.cursor, &declaration, Unsized::Extern)?;
                    let id = VariableId(self.function.variables.len() as u32);
                    self.declare(name, Name::Variable(id), variable.line)?;
                    self.function.variables.push(variable);
                    if !self.cursor.accept(",")? {
                        return self.cursor.expect(";");
                    }
                }
            }
        }
        Ok(())
    }

    fn declare(&mut self, word: &'a str, name: Name, line: u32) -> Result<()> {
        self.names.declare(word, name).map_err(|message| Error::syntax(line, message))
    }

    /// `.reg .b32 %a, %r<10>;`
    fn registers(&mut self) -> Result<()> {
        self.cursor.advance()?;
        let mut found = None;
        while let Kind::Dot(word) = self.cursor.token.kind {
            match word {
                "v2" | "v4" | "v8" => {
                    return self.cursor.error("registers that are vectors are not supported");
                }
                "align" => {
                    self.cursor.advance()?;
                    self.cursor.unsigned("an alignment")?;
                    continue;
                }
                _ => {}
            }
            let Some(ty) = Type::parse(word).filter(|_| found.is_none()) else {
                return self.cursor.expected("the type of a register, or its name");
            };
            found = Some(ty);
            self.cursor.advance()?;
        }
        let Some(ty) = found else {
            return self.cursor.expected("the type of a register");
        };
        loop {
            let line = self.cursor.token.line;
            let word = self.cursor.word("the name of a register")?;
            if self.cursor.accept("<")? {
                let count = self.cursor.number("a number of registers")?;
                self.cursor.expect(">")?;
                self.names.declare_range(word, count, ty).map_err(|message| Error::syntax(line, message))?;
            } else {
                let id = RegisterId(self.function.registers.len() as u32);
                self.declare(word, Name::Register(id), line)?;
                self.function.registers.push(Register { name: word.to_owned(), ty });
            }
            if !self.cursor.accept(",")? {
                return self.cursor.expect(";");
            }
        }
    }

    /// What a name of a register or variable means here.
    pub fn lookup(&mut self, word: &str) -> Option<Name> {
        self.names.lookup(word, &mut self.function.registers)
    }

    /// `name:`, and the directive after it if there is one.
    fn label(&mut self, name: &'a str, line: u32) -> Result<()> {
        let table = match self.cursor.token.kind {
            Kind::Dot("branchtargets") => Some(self.branch_targets()?),
            Kind::Dot("calltargets") => Some(self.call_targets()?),
            Kind::Dot("callprototype") => {
                self.cursor.advance()?;
                function::prototype(self.cursor)?;
                self.cursor.expect(";")?;
                Some(TableContent::Prototype)
            }
            _ => None,
        };
        let target = match table {
            Some(content) => {
                self.function.tables.push(Table { name: name.to_owned(), content });
                Target::Table(TableId(self.function.tables.len() as u32 - 1))
            }
            None => {
                self.function.labels.push(Label { name: name.to_owned(), target: self.code.len() as u32 });
                Target::Place(LabelId(self.function.labels.len() as u32 - 1))
            }
        };
        match self.scopes.last_mut().and_then(|scope| scope.labels.insert(name, target)) {
            None => Ok(()),
            Some(_) => {
                Err(Error::syntax(line, format!("the label `{}` stands twice in the same scope", clip(name))))
            }
        }
    }

    fn branch_targets(&mut self) -> Result<TableContent> {
        self.cursor.advance()?;
        let table = self.function.tables.len();
        let mut entries = 0;
        loop {
            let line = self.cursor.token.line;
            let name = self.cursor.word("a label")?;
            if self.cursor.accept("<")? {
                let count = self.cursor.number("a number of labels")?;
                self.cursor.expect(">")?;
                let Some(left) = self.cursor.labels.checked_sub(count.into()) else {
                    return Err(Error::syntax(line, format!("there are fewer than {count} labels")));
                };
                self.cursor.labels = left;
                for index in 0..count {
                    self.refer(format!("{name}{index}").into(), line, Site::Entry { table, entry: entries });
                    entries += 1;
                }
            } else {
                self.refer(name.into(), line, Site::Entry { table, entry: entries });
                entries += 1;
            }
            if !self.cursor.accept(",")? {
                self.cursor.expect(";")?;
                return Ok(TableContent::Branches(vec![LabelId(u32::MAX); entries]));
            }
        }
    }

    fn call_targets(&mut self) -> Result<TableContent> {
        self.cursor.advance()?;
        let mut functions = Vec::new();
        loop {
            let line = self.cursor.token.line;
            let name = self.cursor.word("a function")?;
            self.known_function(name, line)?;
            functions.push(name.to_owned());
            if !self.cursor.accept(",")? {
                self.cursor.expect(";")?;
                return Ok(TableContent::Calls(functions));
            }
        }
    }

    /// Fails unless this is the name of a function.
    pub fn known_function(&self, name: &str, line: u32) -> Result<()> {
        match self.globals.get(name) {
            Some(Global::Function(_)) => Ok(()),
            _ => Err(Error::syntax(line, format!("expected a function, found `{}`", clip(name)))),
        }
    }

    fn refer(&mut self, name: std::borrow::Cow<'a, str>, line: u32, site: Site) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.references.push(Reference { name, line, site });
        }
    }

    /// Notes that the next instruction's operand of this number is a label, whose value follows at the scope's end.
    pub fn label_operand(&mut self, operand: usize, is_table: bool) -> Result<Operand> {
        let line = self.cursor.token.line;
        let name = self.cursor.word(if is_table { "the label of a table" } else { "a label" })?;
        self.refer(name.into(), line, Site::Operand { instruction: self.code.len(), operand });
        Ok(if is_table { Operand::Table(TableId(u32::MAX)) } else { Operand::Label(LabelId(u32::MAX)) })
    }

    /// Resolves the labels that the innermost scope names, or hands them to the next.
    fn close_scope(&mut self) -> Result<()> {
        let scope = self.scopes.pop().unwrap_or_default();
        for reference in scope.references {
            let Some(&target) = scope.labels.get(&*reference.name) else {
                match self.scopes.last_mut() {
                    Some(outer) => outer.references.push(reference),
                    None => {
                        let message = format!("the label `{}` is not defined", clip(&reference.name));
                        return Err(Error::syntax(reference.line, message));
                    }
                }
                continue;
            };
            if !self.resolve(reference.site, target) {
                let message =
                    format!("the label `{}` is not of the kind expected here", clip(&reference.name));
                return Err(Error::syntax(reference.line, message));
            }
        }
        Ok(())
    }

    /// Writes what a label names where it is named; `false` where that must be something else.
    fn resolve(&mut self, site: Site, target: Target) -> bool {
        match site {
            Site::Operand { instruction, operand } => {
                let operand =
                    self.code.get_mut(instruction).and_then(|found| found.operands.get_mut(operand));
                match (operand, target) {
                    (Some(Operand::Label(id)), Target::Place(place)) => *id = place,
                    (Some(Operand::Table(id)), Target::Table(table)) => *id = table,
                    _ => return false,
                }
            }
            Site::Entry { table, entry } => {
                let content = self.function.tables.get_mut(table).map(|table| &mut table.content);
                let (Some(TableContent::Branches(entries)), Target::Place(place)) = (content, target) else {
                    return false;
                };
                match entries.get_mut(entry) {
                    Some(id) => *id = place,
                    None => return false,
                }
            }
        }
        true
    }

    /// `@p instruction` or `@!p instruction`.
    fn guarded(&mut self) -> Result<()> {
        self.cursor.advance()?;
        let negated = self.cursor.accept("!")?;
        let line = self.cursor.token.line;
        let word = self.cursor.word("a predicate")?;
        let register = match self.lookup(word) {
            Some(Name::Register(id)) if self.register_type(id) == Some(Type::Pred) => id,
            Some(_) => {
                return Err(Error::syntax(line, format!("the guard `{}` is not a predicate", clip(word))));
            }
            None => return Err(unknown(word, line)),
        };
        let line = self.cursor.token.line;
        let opcode = self.cursor.word("an instruction after its guard")?;
        self.instruction(opcode, line, Some(Guard { register, negated }))
    }

    fn register_type(&self, id: RegisterId) -> Option<Type> {
        self.function.registers.get(id.0 as usize).map(|register| register.ty)
    }

    /// An instruction after the first word of its opcode.
    fn instruction(&mut self, root: &str, line: u32, guard: Option<Guard>) -> Result<()> {
        if !root.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(Error::syntax(line, format!("expected an instruction, found `{}`", clip(root))));
        }
        let mut opcode = root.to_owned();
        while let Kind::Dot(modifier) = self.cursor.token.kind {
            opcode.push('.');
            opcode.push_str(modifier);
            self.cursor.advance()?;
        }
        let operands = if self.cursor.at(";") { Vec::new() } else { self.operands(root)? };
        if !self.cursor.accept(";")? {
            return self.cursor.expected("`,` or `;` after an operand");
        }
        self.code.push(Instruction { line, source: self.source, guard, opcode, operands });
        Ok(())
    }
}

/// An error: nothing of this name is declared.
pub(super) fn unknown(name: &str, line: u32) -> Error {
    Error::syntax(line, format!("`{}` is not declared", clip(name)))
}
