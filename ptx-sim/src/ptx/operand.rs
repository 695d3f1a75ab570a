//! Operands of instructions.

use super::ast::{Base, Operand, RegisterId, Space, Symbol};
use super::expression::{Constant, starts_constant};
use super::lexer::{Kind, clip};
use super::names::Name;
use super::statement::{Body, unknown};
use crate::error::{Error, Result};

/// Special registers that are one number.
const SCALARS: [&str; 37] = [
    "laneid",
    "warpid",
    "nwarpid",
    "smid",
    "nsmid",
    "gridid",
    "is_explicit_cluster",
    "cluster_ctarank",
    "cluster_nctarank",
    "lanemask_eq",
    "lanemask_le",
    "lanemask_lt",
    "lanemask_ge",
    "lanemask_gt",
    "clock",
    "clock_hi",
    "clock64",
    "globaltimer",
    "globaltimer_lo",
    "globaltimer_hi",
    "reserved_smem_offset_begin",
    "reserved_smem_offset_end",
    "reserved_smem_offset_cap",
    "reserved_smem_offset_0",
    "reserved_smem_offset_1",
    "total_smem_size",
    "aggr_smem_size",
    "dynamic_smem_size",
    "current_graph_exec",
    "pm0",
    "pm1",
    "pm2",
    "pm3",
    "pm4",
    "pm5",
    "pm6",
    "pm7",
];

/// Special registers that have `.x`, `.y`, `.z` and `.w`.
const VECTORS: [&str; 8] =
    ["tid", "ntid", "ctaid", "nctaid", "clusterid", "nclusterid", "cluster_ctaid", "cluster_nctaid"];

/// Whether a name without its `%` is that of a special register that is one number.
fn is_scalar(name: &str) -> bool {
    let numbered = |prefix: &str, suffix: &str, count: u32| {
        let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        number.is_some_and(|number| {
            number.parse().is_ok_and(|index: u32| index < count && number == index.to_string())
        })
    };
    SCALARS.contains(&name) || numbered("envreg", "", 32) || numbered("pm", "_64", 8)
}

impl Body<'_, '_> {
    /// The operands of an instruction that has some.
    pub fn operands(&mut self, root: &str) -> Result<Vec<Operand>> {
        if root == "call" {
            return self.call();
        }
        let mut operands = Vec::new();
        loop {
            let operand = match (root, operands.len()) {
                ("bra", 0) => self.label_operand(0, false)?,
                ("brx", 1) => self.label_operand(1, true)?,
                _ => self.operand()?,
            };
            operands.push(operand);
            if !self.cursor.accept(",")? {
                return Ok(operands);
            }
        }
    }

    /// `(results), function, (arguments), prototype`, of which only the function must be there.
    fn call(&mut self) -> Result<Vec<Operand>> {
        let mut operands = Vec::new();
        if self.cursor.at("(") {
            operands.push(self.arguments()?);
            self.cursor.expect(",")?;
        }
        let line = self.cursor.token.line;
        let name = self.cursor.word("a function or a register with its address")?;
        operands.push(match self.lookup(name) {
            Some(Name::Register(id)) => Operand::Register(id),
            _ => {
                self.known_function(name, line)?;
                Operand::Function(name.to_owned())
            }
        });
        if self.cursor.accept(",")? {
            if self.cursor.at("(") {
                operands.push(self.arguments()?);
                if !self.cursor.accept(",")? {
                    return Ok(operands);
                }
            }
            operands.push(self.label_operand(operands.len(), true)?);
        }
        Ok(operands)
    }

    /// `(a, b)` of a call.
    fn arguments(&mut self) -> Result<Operand> {
        self.cursor.expect("(")?;
        let mut list = Vec::new();
        if self.cursor.accept(")")? {
            return Ok(Operand::List(list));
        }
        loop {
            let line = self.cursor.token.line;
            list.push(match self.simple()? {
                Operand::Address(Symbol::Local(id), 0) if self.is_parameter(id.0) => Operand::Param(id),
                operand @ (Operand::Register(_)
                | Operand::Integer(_)
                | Operand::F32(_)
                | Operand::F64(_)
                | Operand::Sink) => operand,
                _ => {
                    let message =
                        "expected a `.param` variable, a register or a constant in the list of a call";
                    return Err(Error::syntax(line, message));
                }
            });
            if !self.cursor.accept(",")? {
                self.cursor.expect(")")?;
                return Ok(Operand::List(list));
            }
        }
    }

    fn is_parameter(&self, variable: u32) -> bool {
        self.function.variables.get(variable as usize).is_some_and(|variable| variable.space == Space::Param)
    }

    /// An operand of any kind but a label or the parts of a call.
    fn operand(&mut self) -> Result<Operand> {
        let first = match self.cursor.token.kind {
            Kind::Symbol("[") => return self.memory(),
            Kind::Symbol("{") => Operand::Vector(self.vector()?),
            _ => self.simple()?,
        };
        if !self.cursor.accept("|")? {
            return Ok(first);
        }
        let second = self.simple()?;
        let is_destination =
            |operand: &Operand| matches!(operand, Operand::Register(_) | Operand::Sink | Operand::Vector(_));
        if !is_destination(&first) || !is_destination(&second) {
            return Err(Error::syntax(self.cursor.line, "expected registers on both sides of `|`"));
        }
        Ok(Operand::Pair(first.into(), second.into()))
    }

    /// `{a, b}`.
    fn vector(&mut self) -> Result<Vec<Operand>> {
        self.cursor.expect("{")?;
        let mut elements = Vec::new();
        loop {
            elements.push(self.simple()?);
            if !self.cursor.accept(",")? {
                self.cursor.expect("}")?;
                return Ok(elements);
            }
        }
    }

    /// A register, `!p`, a constant, an address or `_`.
    fn simple(&mut self) -> Result<Operand> {
        match self.cursor.token.kind {
            Kind::Symbol("!") if matches!(self.cursor.peek()?, Kind::Word(word) if word != "WARP_SZ") => {
                self.cursor.advance()?;
                let line = self.cursor.token.line;
                let word = self.cursor.word("a predicate")?;
                match self.lookup(word) {
                    Some(Name::Register(id)) => {
                        self.refuse_component(word)?;
                        Ok(Operand::Not(id))
                    }
                    Some(Name::Variable(_)) => Err(Error::syntax(line, "expected a predicate after `!`")),
                    None => Err(unknown(word, line)),
                }
            }
            Kind::Word(word) if word != "WARP_SZ" => self.name(),
            kind if starts_constant(kind) => Ok(match self.cursor.constant()? {
                Constant::Signed(value) => Operand::Integer(value),
                Constant::Unsigned(value) => Operand::Integer(value as i64),
                Constant::Double(value) => Operand::F64(value.to_bits()),
                Constant::Single(bits) => Operand::F32(bits),
            }),
            _ => self.cursor.expected("an operand"),
        }
    }

    /// An operand that is a name.
    fn name(&mut self) -> Result<Operand> {
        let line = self.cursor.token.line;
        let word = self.cursor.word("a name")?;
        if word == "_" {
            return Ok(Operand::Sink);
        }
        match self.lookup(word) {
            Some(Name::Register(id)) => {
                self.refuse_component(word)?;
                return Ok(Operand::Register(id));
            }
            None if word.starts_with('%') => return self.special(word, line),
            _ => {}
        }
        let symbol = self.symbol(word, line)?;
        if self.cursor.at("[") {
            return self.cursor.error(format!("expected `[{0} + offset]`, found `{0}[…]`", clip(word)));
        }
        Ok(Operand::Address(symbol, self.cursor.offset()?))
    }

    /// `%v.x` is a part of a vector, and `%r.b0` a part of a register for video instructions.
    fn refuse_component(&self, word: &str) -> Result<()> {
        match self.cursor.token.kind {
            Kind::Dot(part) => self.cursor.error(format!(
                "parts of registers such as `{}.{}` are not supported",
                clip(word),
                clip(part)
            )),
            _ => Ok(()),
        }
    }

    fn special(&mut self, word: &str, line: u32) -> Result<Operand> {
        let name = word.trim_start_matches('%');
        if VECTORS.contains(&name) {
            let component = match self.cursor.token.kind {
                Kind::Dot("x" | "r") => 'x',
                Kind::Dot("y" | "g") => 'y',
                Kind::Dot("z" | "b") => 'z',
                Kind::Dot("w" | "a") => 'w',
                _ => return self.cursor.expected(&format!("`.x`, `.y`, `.z` or `.w` after `{word}`")),
            };
            self.cursor.advance()?;
            return Ok(Operand::Special(format!("{name}.{component}")));
        }
        if !is_scalar(name) {
            return Err(unknown(word, line));
        }
        Ok(Operand::Special(name.to_owned()))
    }

    /// A variable or function by name.
    fn symbol(&mut self, word: &str, line: u32) -> Result<Symbol> {
        match self.lookup(word) {
            Some(Name::Variable(id)) => Ok(Symbol::Local(id)),
            Some(Name::Register(_)) => Err(Error::syntax(line, format!("`{}` is a register", clip(word)))),
            None if self.globals.contains_key(word) => Ok(Symbol::Module(word.to_owned())),
            None => Err(unknown(word, line)),
        }
    }

    /// `[base + offset]` or `[base + offset, {coordinates}]`.
    fn memory(&mut self) -> Result<Operand> {
        self.cursor.expect("[")?;
        let (base, offset) = match self.cursor.token.kind {
            Kind::Word(word) if word != "WARP_SZ" => {
                let line = self.cursor.token.line;
                self.cursor.advance()?;
                let base = match self.lookup(word) {
                    Some(Name::Register(id)) => self.base_register(id, word)?,
                    _ => Base::Symbol(self.symbol(word, line)?),
                };
                (base, self.cursor.offset()?)
            }
            kind if starts_constant(kind) => (Base::Absolute, self.cursor.integer()?),
            _ => return self.cursor.expected("an address"),
        };
        let coordinates = if self.cursor.accept(",")? { Some(self.vector()?) } else { None };
        if !self.cursor.accept("]")? {
            return self.cursor.expected("`]` or an offset in an address");
        }
        // A promise about the variable, which changes nothing here.
        self.cursor.accept_dot("unified")?;
        Ok(match coordinates {
            Some(coordinates) => Operand::Tensor(base, offset, coordinates),
            None => Operand::Memory(base, offset),
        })
    }

    fn base_register(&mut self, id: RegisterId, word: &str) -> Result<Base> {
        self.refuse_component(word)?;
        Ok(Base::Register(id))
    }
}
