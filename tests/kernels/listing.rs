//! Machine code as `cuobjdump` prints it: instructions, and the loops among them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::tools::{self, Compiled};

/// One instruction, such as `@!P0 LDG.E.128 R20, desc[UR6][R32.64]`.
#[derive(Debug)]
pub struct Instruction {
    address: u64,
    /// `LDG.E.128`.
    pub opcode: String,
    /// Where a branch goes to.
    target: Option<u64>,
}

/// The instructions of one kernel.
#[derive(Debug)]
pub struct Listing(pub Vec<Instruction>);

/// All kernels of this build for all architectures, read once.
pub fn all() -> &'static BTreeMap<Compiled, Listing> {
    static ALL: OnceLock<BTreeMap<Compiled, Listing>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = BTreeMap::new();
        for (family, kernel) in tools::families() {
            let output = tools::cuobjdump(family, kernel, &["-sass"]);
            let kernels = tools::by_kernel(&output).into_iter();
            all.extend(kernels.map(|(kernel, lines)| (kernel, Listing::parse(&lines))));
        }
        all
    })
}

impl Instruction {
    /// Of a line such as `/*02b0*/ @!P0 BRA 0x120 ;`.
    fn parse(line: &str) -> Option<Self> {
        let (address, instruction) = line.strip_prefix("/*")?.split_once("*/")?;
        let address = u64::from_str_radix(address, 16).ok()?;
        let instruction = instruction.split(';').next()?;
        let mut words = instruction.split_whitespace().skip_while(|word| word.starts_with('@'));
        let opcode = words.next()?.to_string();
        let number = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let target =
            if opcode.split('.').next() == Some("BRA") { words.last().and_then(number) } else { None };
        Some(Instruction { address, opcode, target })
    }

    /// The part of the opcode before its modifiers.
    pub fn stem(&self) -> &str {
        self.opcode.split('.').next().unwrap_or_default()
    }

    pub fn has(&self, modifier: &str) -> bool {
        self.opcode.split('.').skip(1).any(|part| part == modifier)
    }

    /// Whether it is an access to global memory from a register or to one.
    pub fn is_global(&self) -> bool {
        matches!(self.stem(), "LDG" | "STG" | "RED" | "REDG" | "ATOM" | "ATOMG")
    }
}

impl Listing {
    pub fn parse(lines: &[&str]) -> Self {
        Listing(lines.iter().filter_map(|line| Instruction::parse(line)).collect())
    }

    /// Positions of the instructions that are wanted.
    pub fn positions(&self, wanted: impl Fn(&Instruction) -> bool) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, instruction)| wanted(instruction)).map(|(at, _)| at).collect()
    }

    /// How often each tensor instruction occurs, such as `HMMA.16816.F32.BF16`.
    pub fn tensor_instructions(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for instruction in self.0.iter().filter(|instruction| instruction.stem().ends_with("MMA")) {
            *kinds.entry(instruction.opcode.as_str()).or_default() += 1;
        }
        kinds
    }

    /// The innermost loops that have an instruction of this stem: from the target of a branch back to the branch.
    pub fn loops(&self, stem: &str) -> Vec<&[Instruction]> {
        let back = |(end, branch): (usize, &Instruction)| {
            let target = branch.target.filter(|target| *target <= branch.address)?;
            let start = self.0.iter().position(|instruction| instruction.address == target)?;
            let has = self.0[start..=end].iter().any(|instruction| instruction.stem() == stem);
            // What follows an EXIT at the end of a kernel is a branch to itself.
            (has && start < end).then_some((start, end))
        };
        let ranges: Vec<_> = self.0.iter().enumerate().filter_map(back).collect();
        let inner = |&(start, end): &(usize, usize)| {
            !ranges.iter().any(|&(s, e)| (s, e) != (start, end) && start <= s && e <= end)
        };
        ranges.iter().filter(|range| inner(range)).map(|&(start, end)| &self.0[start..=end]).collect()
    }
}

#[test]
fn opcodes_are_read_behind_predicates() {
    let opcode = |line| Instruction::parse(line).map(|instruction| instruction.opcode);
    assert_eq!(
        opcode("/*02b0*/              @!P0 LDG.E.NA.128 R20, desc[UR6][R32.64] ;"),
        Some("LDG.E.NA.128".into())
    );
    assert_eq!(opcode("/*0030*/                   EXIT ;"), Some("EXIT".into()));
    assert_eq!(opcode("/* 0x000fe20000000f00 */"), None);
    assert_eq!(opcode("headerflags	@\"EF_CUDA_TEXMODE_UNIFIED\""), None);
}

#[test]
fn loops_are_found_by_their_branches() {
    let lines = [
        "/*0000*/ MOV R1, c[0x0][0x28] ;",
        "/*0010*/ LDG.E R4, [R2.64] ;",
        "/*0020*/ LDSM.16.M88.4 R8, [R4] ;",
        "/*0030*/ HMMA.16816.F32.BF16 R8, R4, R6, R8 ;",
        "/*0040*/ @P0 BRA 0x20 ;",
        "/*0050*/ @!P1 BRA 0x70 ;",
        "/*0060*/ HMMA.16816.F32.BF16 R8, R4, R6, R8 ;",
        "/*0070*/ BRA.U UP0, 0x10 ;",
        "/*0080*/ HMMA.1688.F32 R8, R4, R6, R8 ;",
        "/*0090*/ EXIT ;",
        "/*00a0*/ BRA 0xa0;",
    ];
    let listing = Listing::parse(&lines);
    let opcodes = |stem| -> Vec<Vec<&str>> {
        let loops = listing.loops(stem).into_iter();
        loops.map(|body| body.iter().map(Instruction::stem).collect()).collect()
    };
    // The loop around it is not the innermost one with HMMA, but the only one with LDG.
    assert_eq!(opcodes("HMMA"), [["LDSM", "HMMA", "BRA"]]);
    assert_eq!(opcodes("LDG"), [["LDG", "LDSM", "HMMA", "BRA", "BRA", "HMMA", "BRA"]]);
    assert_eq!(opcodes("EXIT"), Vec::<Vec<&str>>::new());
    assert_eq!(
        listing.tensor_instructions().into_iter().collect::<Vec<_>>(),
        [("HMMA.16816.F32.BF16", 2), ("HMMA.1688.F32", 1)]
    );
}
