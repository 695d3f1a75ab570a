//! Module scope: header, variables, functions and debugging information.

use std::collections::HashMap;

use super::ast::{Function, Module, Operand, Space, Symbol, TableContent, Variable};
use super::cursor::Cursor;
use super::function;
use super::lexer::{Kind, clip};
use super::variable::{self, Unsized};
use crate::error::{Error, Result};

/// What a name at module scope stands for: an index into the module's variables or functions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    Variable(usize),
    Function(usize),
}

/// A module while it is read.
#[derive(Debug)]
struct Reader<'a> {
    cursor: Cursor<'a>,
    module: Module,
    globals: HashMap<&'a str, Global>,
    /// Declarations whose definition came later: dropped at the end.
    superseded_functions: Vec<bool>,
    superseded_variables: Vec<bool>,
    /// `.alias`: the other name, and the line.
    aliases: HashMap<&'a str, (&'a str, u32)>,
}

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Module> {
    // Images handed to a driver end in a zero byte.
    let text = text.trim_end_matches('\0');
    if u32::try_from(text.len()).is_err() {
        return Err(Error::Module("the PTX is longer than 4 GiB".into()));
    }
    let mut reader = Reader {
        cursor: Cursor::new(text)?,
        module: Module::default(),
        globals: HashMap::new(),
        superseded_functions: Vec::new(),
        superseded_variables: Vec::new(),
        aliases: HashMap::new(),
    };
    reader.header()?;
    while reader.cursor.token.kind != Kind::End {
        reader.item()?;
    }
    reader.finish()
}

impl<'a> Reader<'a> {
    /// `.version`, `.target` and `.address_size`.
    fn header(&mut self) -> Result<()> {
        let cursor = &mut self.cursor;
        if !cursor.accept_dot("version")? {
            return cursor.expected("`.version`");
        }
        let version = cursor.token_text();
        let parts = version
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let Some(parts) = parts else {
            return cursor.expected("a version such as 8.0");
        };
        self.module.version = parts;
        cursor.advance()?;
        if !cursor.accept_dot("target")? {
            return cursor.expected("`.target`");
        }
        let target = cursor.word("a target such as sm_80")?;
        self.module.target = match target.strip_prefix("compute_") {
            Some(number) => format!("sm_{number}"),
            None if target.starts_with("sm_") => target.to_owned(),
            None => return Err(Error::syntax(cursor.line, "expected a target such as sm_80")),
        };
        while cursor.accept(",")? {
            match cursor.word("an option of the target")? {
                "debug" | "texmode_unified" | "texmode_independent" => {}
                other => {
                    let message = format!("the target option `{}` is not supported", clip(other));
                    return Err(Error::syntax(cursor.line, message));
                }
            }
        }
        if !cursor.accept_dot("address_size")? {
            return cursor.expected("`.address_size 64`");
        }
        if cursor.number("an address size")? != 64 {
            return Err(Error::syntax(cursor.line, "only an address size of 64 is supported"));
        }
        self.module.address_size = 64;
        Ok(())
    }

    /// A directive at module scope.
    fn item(&mut self) -> Result<()> {
        let cursor = &mut self.cursor;
        if cursor.accept(";")? {
            return Ok(());
        }
        let Kind::Dot(word) = cursor.token.kind else {
            return cursor.expected("a directive such as `.entry` or `.global`");
        };
        match word {
            "file" => return file(cursor, &mut self.module.files),
            "section" => return skip_section(cursor),
            "pragma" => return function::pragma(cursor),
            "loc" => return function::location(cursor).map(drop),
            "alias" => return self.alias(),
            "version" | "target" | "address_size" => {
                return cursor.error(format!("`.{word}` is given twice"));
            }
            _ => {}
        }
        let mut is_extern = false;
        while let Kind::Dot(linkage @ ("extern" | "visible" | "weak" | "common")) = self.cursor.token.kind {
            is_extern |= linkage == "extern";
            self.cursor.advance()?;
        }
        match self.cursor.token.kind {
            Kind::Dot(kind @ ("entry" | "func")) => {
                self.cursor.advance()?;
                self.function(kind == "entry")
            }
            Kind::Dot(word @ ("global" | "const" | "shared")) => {
                self.cursor.advance()?;
                self.variables(variable::space(word).unwrap_or(Space::Global), is_extern)
            }
            Kind::Dot(word @ ("reg" | "local" | "param")) => {
                self.cursor.error(format!("`.{word}` is not supported at module scope"))
            }
            _ => self.cursor.expected("`.entry`, `.func`, `.global`, `.const` or `.shared`"),
        }
    }

    fn alias(&mut self) -> Result<()> {
        let line = self.cursor.token.line;
        self.cursor.advance()?;
        let name = self.cursor.word("a function")?;
        self.cursor.expect(",")?;
        let target = self.cursor.word("a function")?;
        self.cursor.expect(";")?;
        self.aliases.insert(name, (target, line));
        Ok(())
    }

    fn variables(&mut self, space: Space, is_extern: bool) -> Result<()> {
        let declaration = variable::declaration(&mut self.cursor, space, is_extern)?;
        loop {
            let (name, variable) = variable::declarator(&mut self.cursor, &declaration, Unsized::Extern)?;
            self.add_variable(name, variable)?;
            if !self.cursor.accept(",")? {
                return self.cursor.expect(";");
            }
        }
    }

    fn add_variable(&mut self, name: &'a str, variable: Variable) -> Result<()> {
        let index = self.module.variables.len();
        let mut superseded = false;
        match self.globals.get(name) {
            None => {}
            Some(&Global::Variable(before))
                if variable.is_extern || self.module.variables[before].is_extern =>
            {
                // An `.extern` declaration says less than the definition, and no more than another declaration.
                superseded = variable.is_extern;
                self.superseded_variables[before] |= !superseded;
            }
            Some(_) => return Err(declared_twice(name, variable.line)),
        }
        if !superseded {
            self.globals.insert(name, Global::Variable(index));
        }
        self.module.variables.push(variable);
        self.superseded_variables.push(superseded);
        Ok(())
    }

    /// `.entry` or `.func`, after that word.
    fn function(&mut self, is_kernel: bool) -> Result<()> {
        let mut header = function::header(&mut self.cursor, is_kernel)?;
        let (name, line) = (header.name, header.function.line);
        let index = self.module.functions.len();
        let is_definition = self.cursor.at("{");
        let mut superseded = false;
        match self.globals.get(name) {
            None => {}
            Some(&Global::Function(before))
                if !is_definition || self.module.functions[before].body.is_none() =>
            {
                superseded = !is_definition;
                self.superseded_functions[before] |= is_definition;
            }
            Some(_) => return Err(declared_twice(name, line)),
        }
        if !superseded {
            self.globals.insert(name, Global::Function(index));
        }
        if is_definition {
            if let Some(error) = header.duplicate.take() {
                return Err(error);
            }
            let function = header.body(&mut self.cursor, &self.globals)?;
            self.module.functions.push(function);
        } else {
            self.cursor.expect(";")?;
            self.module.functions.push(header.function);
        }
        self.superseded_functions.push(superseded);
        Ok(())
    }

    /// Drops what later definitions replaced, resolves aliases, and checks the names in initialisers.
    fn finish(mut self) -> Result<Module> {
        self.resolve_aliases()?;
        let module = &self.module;
        let all =
            module.variables.iter().chain(module.functions.iter().flat_map(|function| &function.variables));
        for variable in all {
            for relocation in &variable.relocations {
                let has_address = match self.globals.get(relocation.symbol.as_str()) {
                    Some(Global::Function(_)) => true,
                    Some(&Global::Variable(index)) => {
                        matches!(module.variables[index].space, Space::Global | Space::Const)
                    }
                    None => false,
                };
                if !has_address {
                    let name = clip(&relocation.symbol);
                    let message = format!(
                        "expected a `.global`, `.const` or function as initial value, found `{name}`"
                    );
                    return Err(Error::syntax(variable.line, message));
                }
            }
        }
        let mut superseded = self.superseded_functions.into_iter();
        self.module.functions.retain(|_| !superseded.next().unwrap_or_default());
        let mut superseded = self.superseded_variables.into_iter();
        self.module.variables.retain(|_| !superseded.next().unwrap_or_default());
        Ok(self.module)
    }

    /// Writes the function that an alias stands for wherever the alias is named.
    fn resolve_aliases(&mut self) -> Result<()> {
        for (name, (target, line)) in &self.aliases {
            let defined = |name: &str| match self.globals.get(name) {
                Some(&Global::Function(index)) => Some((index, self.module.functions[index].body.is_some())),
                _ => None,
            };
            let (Some((alias, false)), Some((_, true))) = (defined(name), defined(target)) else {
                let message = format!(
                    "`.alias` expects a function without a body and one with a body, found `{}` and `{}`",
                    clip(name),
                    clip(target)
                );
                return Err(Error::syntax(*line, message));
            };
            self.superseded_functions[alias] = true;
        }
        if self.aliases.is_empty() {
            return Ok(());
        }
        let resolve = |name: &mut String| {
            if let Some((target, _)) = self.aliases.get(name.as_str()) {
                *name = (*target).to_owned();
            }
        };
        let Module { variables, functions, .. } = &mut self.module;
        for function in functions {
            rename_functions(function, resolve);
        }
        variables
            .iter_mut()
            .flat_map(|variable| &mut variable.relocations)
            .for_each(|one| resolve(&mut one.symbol));
        Ok(())
    }
}

fn rename_functions(function: &mut Function, rename: impl Fn(&mut String)) {
    for operand in function.body.iter_mut().flatten().flat_map(|instruction| &mut instruction.operands) {
        if let Operand::Function(name) | Operand::Address(Symbol::Module(name), _) = operand {
            rename(name);
        }
    }
    for table in &mut function.tables {
        if let TableContent::Calls(names) = &mut table.content {
            names.iter_mut().for_each(&rename);
        }
    }
    function
        .variables
        .iter_mut()
        .flat_map(|variable| &mut variable.relocations)
        .for_each(|one| rename(&mut one.symbol));
}

fn declared_twice(name: &str, line: u32) -> Error {
    Error::syntax(line, format!("`{}` is declared twice", clip(name)))
}

/// `.file 1 "path", time, size`.
pub(super) fn file(cursor: &mut Cursor<'_>, files: &mut Vec<(u32, String)>) -> Result<()> {
    cursor.advance()?;
    let number = cursor.number("the number of a file")?;
    let path = cursor.text("the path of a file")?;
    while cursor.accept(",")? {
        cursor.unsigned("a time or size")?;
    }
    files.push((number, path));
    Ok(())
}

/// `.section .debug_info { … }`.
fn skip_section(cursor: &mut Cursor<'_>) -> Result<()> {
    let line = cursor.token.line;
    cursor.advance()?;
    while !cursor.accept("}")? {
        if cursor.token.kind == Kind::End {
            return Err(Error::syntax(
                line,
                "expected `}` at the end of `.section`, found the end of the file",
            ));
        }
        cursor.advance()?;
    }
    Ok(())
}
