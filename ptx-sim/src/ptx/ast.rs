//! The syntax tree of a PTX module, its names resolved: scopes (`{ … }`) are gone, and registers, variables and
//! labels are indices into tables of their function.

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// `.version`, major and minor.
    pub version: (u32, u32),
    /// `.target` without its options, such as `sm_80` or `sm_90a`.
    pub target: String,
    /// `.address_size`: 64.
    pub address_size: u32,
    /// `.file` directives: number and path.
    pub files: Vec<(u32, String)>,
    /// Variables at module scope: `.global`, `.const`, `.shared` (also `.extern`).
    pub variables: Vec<Variable>,
    /// Kernels and device functions, in order. Declarations without a body are kept where no definition follows.
    pub functions: Vec<Function>,
}

/// `.entry` or `.func`.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Whether it is a kernel (`.entry`).
    pub is_kernel: bool,
    /// The line of its name.
    pub line: u32,
    /// `.param` parameters that it returns: indices into `variables`.
    pub returns: Vec<VariableId>,
    /// Its parameters: indices into `variables`.
    pub params: Vec<VariableId>,
    /// Performance directives.
    pub directives: Directives,
    /// All registers that are named one by one or used, whatever scope they were declared in: of `%r<100>` only
    /// those that an instruction names are here, in the order of their first use.
    pub registers: Vec<Register>,
    /// All variables of the function but registers: parameters, `.local`, `.shared`, `.param` of call sequences, and
    /// `.global` and `.const` ones that are declared in its body.
    pub variables: Vec<Variable>,
    /// Labels: name, and the index of the instruction that they stand before (`body.len()` at the end).
    pub labels: Vec<Label>,
    /// What stands behind a label that is no place in the code: tables of targets, and prototypes of indirect calls.
    pub tables: Vec<Table>,
    /// The instructions; `None` for a declaration (`__assertfail`, `vprintf`).
    pub body: Option<Vec<Instruction>>,
}

/// `.maxntid` and the like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `.maxntid`: x, y, z.
    pub max_block: Option<[u32; 3]>,
    /// `.reqntid`: x, y, z.
    pub required_block: Option<[u32; 3]>,
    /// `.minnctapersm`.
    pub min_blocks_per_sm: Option<u32>,
    /// `.maxnreg`.
    pub max_registers: Option<u32>,
    /// `.reqnctapercluster`: x, y, z.
    pub required_cluster: Option<[u32; 3]>,
    /// `.explicitcluster`.
    pub explicit_cluster: bool,
    /// `.maxclusterrank`.
    pub max_cluster_rank: Option<u32>,
    /// `.blocksareclusters`: the grid of a launch counts clusters.
    pub blocks_are_clusters: bool,
}

/// A state space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// `.global`.
    Global,
    /// `.const`.
    Const,
    /// `.shared`, `.shared::cta`.
    Shared,
    /// `.shared::cluster`.
    SharedCluster,
    /// `.local`.
    Local,
    /// `.param`, of a kernel or of a call.
    Param,
    /// No space: generic addressing.
    Generic,
}

/// A type, without its vector size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Type {
    Pred,
    B8, B16, B32, B64, B128,
    U8, U16, U32, U64,
    S8, S16, S32, S64,
    F16, F32, F64, Bf16, Tf32,
    F16x2, Bf16x2,
    E4m3, E5m2, E4m3x2, E5m2x2,
    U16x2, S16x2,
}

impl Type {
    /// The type that a modifier such as `f32` (without its dot) names.
    #[rustfmt::skip]
    pub fn parse(modifier: &str) -> Option<Self> {
        use Type::*;
        Some(match modifier {
            "pred" => Pred,
            "b8" => B8, "b16" => B16, "b32" => B32, "b64" => B64, "b128" => B128,
            "u8" => U8, "u16" => U16, "u32" => U32, "u64" => U64,
            "s8" => S8, "s16" => S16, "s32" => S32, "s64" => S64,
            "f16" => F16, "f32" => F32, "f64" => F64, "bf16" => Bf16, "tf32" => Tf32,
            "f16x2" => F16x2, "bf16x2" => Bf16x2,
            "e4m3" => E4m3, "e5m2" => E5m2, "e4m3x2" => E4m3x2, "e5m2x2" => E5m2x2,
            "u16x2" => U16x2, "s16x2" => S16x2,
            _ => return None,
        })
    }

    /// Bits of a value; 1 for a predicate.
    pub fn bits(self) -> u32 {
        use Type::*;
        match self {
            Pred => 1,
            B8 | U8 | S8 | E4m3 | E5m2 => 8,
            B16 | U16 | S16 | F16 | Bf16 | E4m3x2 | E5m2x2 => 16,
            B32 | U32 | S32 | F32 | Tf32 | F16x2 | Bf16x2 | U16x2 | S16x2 => 32,
            B64 | U64 | S64 | F64 => 64,
            B128 => 128,
        }
    }

    /// Bytes of a value in memory; 1 for a predicate.
    pub fn bytes(self) -> u32 {
        self.bits().div_ceil(8)
    }

    /// `.s8` to `.s64`.
    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    /// A floating-point type, packed or not.
    pub fn is_float(self) -> bool {
        use Type::*;
        matches!(self, F16 | F32 | F64 | Bf16 | Tf32 | F16x2 | Bf16x2 | E4m3 | E5m2 | E4m3x2 | E5m2x2)
    }
}

/// Index into [`Function::registers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegisterId(pub u32);

/// Index into [`Function::variables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableId(pub u32);

/// Index into [`Function::labels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelId(pub u32);

/// A register.
#[derive(Clone, Debug, PartialEq)]
pub struct Register {
    /// As written, with its `%`.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A label.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// As written.
    pub name: String,
    /// The instruction that it stands before.
    pub target: u32,
}

/// Index into [`Function::tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u32);

/// A label with a directive.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// As written.
    pub name: String,
    /// What it says.
    pub content: TableContent,
}

/// What a [`Table`] says.
#[derive(Clone, Debug, PartialEq)]
pub enum TableContent {
    /// `.branchtargets a, b, c;`
    Branches(Vec<LabelId>),
    /// `.calltargets f, g;`
    Calls(Vec<String>),
    /// `.callprototype`; the call itself says what it passes.
    Prototype,
}

/// A variable in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// As written.
    pub name: String,
    /// The line of its name.
    pub line: u32,
    /// Where it lies.
    pub space: Space,
    /// The type of an element.
    pub ty: Type,
    /// Bytes of the whole; 0 for `.extern .shared` arrays without a size.
    pub size: u64,
    /// Alignment in bytes, declared or natural.
    pub align: u64,
    /// `.extern`.
    pub is_extern: bool,
    /// Bytes that it starts with; empty for none. Zero-padded to `size` where shorter.
    pub initial: Vec<u8>,
    /// Addresses among the initial bytes: offset, symbol, addend, and whether it is a generic address.
    pub relocations: Vec<Relocation>,
}

/// An address in a variable's initial bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Relocation {
    /// Byte within the variable.
    pub offset: u64,
    /// Whose address.
    pub symbol: String,
    /// What is added to it.
    pub addend: i64,
    /// `generic(symbol)`.
    pub generic: bool,
    /// Bytes of the address that are stored: 8, 4, or 1 for `0xFF00(symbol)`.
    pub size: u32,
    /// Bits of the address below those that are stored: 8 for `0xFF00(symbol)`, else 0.
    pub shift: u32,
}

/// A place in a source file, from `.loc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// Number of the file.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// File and line of the call that was inlined there.
    pub inlined_at: Option<(u32, u32)>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Its line in the PTX file, from 1.
    pub line: u32,
    /// The `.loc` that it stands under; lines of inlined functions are given as the innermost.
    pub source: Option<SourceLine>,
    /// `@%p` or `@!%p`.
    pub guard: Option<Guard>,
    /// Opcode with all its modifiers as written, such as `ld.global.nc.v4.u32` or `cp.async.cg.shared.global.L2::128B`.
    pub opcode: String,
    /// Its operands.
    pub operands: Vec<Operand>,
}

impl Instruction {
    /// The opcode without modifiers, such as `ld`.
    pub fn root(&self) -> &str {
        self.opcode.split('.').next().unwrap_or_default()
    }

    /// The modifiers, such as `global`, `nc`, `v4`, `u32`.
    pub fn modifiers(&self) -> impl Iterator<Item = &str> + Clone {
        self.opcode.split('.').skip(1)
    }
}

/// A guard predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The predicate.
    pub register: RegisterId,
    /// `@!`.
    pub negated: bool,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register.
    Register(RegisterId),
    /// `!%p`.
    Not(RegisterId),
    /// A special register as written without its `%`: `tid.x`, `laneid`, `clock64`.
    Special(String),
    /// An integer (after constant folding), as 64 bits; predicates `0` and `1` as well.
    Integer(i64),
    /// `0f…` or a decimal: a float. Single-precision hexadecimals are kept as their own bits.
    F32(u32),
    /// `0d…` or a decimal: bits of a double.
    F64(u64),
    /// The address of a variable of this function or of the module (`mov`, `cvta`), with an offset.
    Address(Symbol, i64),
    /// `[base + offset]`.
    Memory(Base, i64),
    /// `[base + offset, {x, y}]`: a tensor map and the coordinates in it.
    Tensor(Base, i64, Vec<Operand>),
    /// `{a, b, c, d}`.
    Vector(Vec<Operand>),
    /// `a|b`: two destinations.
    Pair(Box<Operand>, Box<Operand>),
    /// A label of this function.
    Label(LabelId),
    /// A `.branchtargets` or `.calltargets` table, or a call prototype.
    Table(TableId),
    /// The name of a function.
    Function(String),
    /// `(a, b)` of a call: parameters as variables or registers.
    List(Vec<Operand>),
    /// A variable named without brackets in a call's list.
    Param(VariableId),
    /// `_`.
    Sink,
}

/// What a symbol in an operand names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// A variable of this function.
    Local(VariableId),
    /// A variable (or a function) at module scope.
    Module(String),
}

/// The base of a memory operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Base {
    /// A register.
    Register(RegisterId),
    /// A variable.
    Symbol(Symbol),
    /// A number: an absolute address.
    Absolute,
}
