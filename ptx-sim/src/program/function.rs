//! Decodes a kernel with all that it calls: device functions are decoded anew at each call, so that there is no call
//! stack at run time and every register is a row.

use std::collections::HashMap;
use std::rc::Rc;

use super::{
    Allocation, Decoded, Decoder, Inst, Lanes, MbarrierKind, Op, Operands, Parameter, Pc, Place, Program,
    Reject, Slot, Symbols, bulk, cluster, control, grid, mbarrier, memory, registers, synchronization, wgmma,
};
use crate::alu;
use crate::config::ComputeCapability;
use crate::error::Unsupported;
use crate::memory::{Scope, Strength};
use crate::ptx::ast::{self, Function, Instruction, Operand, Space, Symbol, VariableId};
use crate::report::InstructionClass;
use crate::tensor;

/// Instructions of a kernel at most, all calls included.
const MAX_INSTRUCTIONS: usize = 1 << 22;
/// Bytes of a thread's local memory at most (a device's limit is 512 KiB).
const MAX_LOCAL_BYTES: u64 = 512 << 10;

/// What a kernel is decoded with.
pub(crate) struct Context<'a> {
    pub module: &'a ast::Module,
    /// Addresses of the module's variables.
    pub addresses: &'a HashMap<String, (Space, u64)>,
    /// Whether approximate functions are perturbed.
    pub perturb_approx: bool,
}

/// A kernel while it is decoded.
pub(crate) struct Builder<'a> {
    context: &'a Context<'a>,
    pub allocation: Allocation,
    pub instructions: Vec<Inst>,
    pub places: Vec<Place>,
    pub unsupported: Vec<Unsupported>,
    /// Bytes of local memory laid out so far.
    pub local_bytes: u64,
    /// Bytes of static shared memory laid out so far, with the module's.
    pub shared_bytes: u64,
    /// Addresses of `.shared` variables of functions, which exist once however often they are called.
    shared: HashMap<(String, u32), u64>,
    calls: Vec<String>,
}

/// Where the variables of one function lie, in one call of it.
struct Frame<'a> {
    variables: Vec<Option<(Space, u64)>>,
    module: &'a HashMap<String, (Space, u64)>,
}

impl Symbols for Frame<'_> {
    fn address(&self, symbol: &Symbol) -> Option<(Space, u64)> {
        match symbol {
            Symbol::Local(id) => self.variables.get(id.0 as usize).copied().flatten(),
            Symbol::Module(name) => self.module.get(name).copied(),
        }
    }
}

impl<'a> Builder<'a> {
    pub fn new(context: &'a Context<'a>, shared_bytes: u64) -> Self {
        Self {
            context,
            allocation: Allocation::default(),
            instructions: Vec::new(),
            places: Vec::new(),
            unsupported: Vec::new(),
            local_bytes: 0,
            shared_bytes,
            shared: HashMap::new(),
            calls: Vec::new(),
        }
    }

    /// Decodes a kernel; `parameters` are the offsets of its parameters.
    pub fn kernel(&mut self, kernel: &'a Function, parameters: &[u64]) {
        let arguments = parameters.iter().map(|offset| (Space::Param, *offset)).collect::<Vec<_>>();
        self.function(kernel, &arguments, &[]);
    }

    fn reject(&mut self, function: &Function, line: u32, instruction: &str, reason: impl Into<String>) {
        self.unsupported.push(Unsupported {
            function: function.name.clone(),
            line,
            instruction: instruction.into(),
            reason: reason.into(),
        });
    }

    fn push(&mut self, instruction: &Instruction, decoded: Decoded, guard: Slot) {
        self.instructions.push(Inst {
            op: decoded.op,
            operands: decoded.operands,
            guard,
            class: decoded.class,
            selects: instruction.root() == "selp",
            moves: moves_register(instruction),
            touches: 0,
        });
        self.places.push(Place {
            line: instruction.line,
            source: instruction.source,
            opcode: instruction.opcode.as_str().into(),
        });
    }

    /// Where the function's variables lie: its parameters where the caller put them.
    fn frame(
        &mut self,
        function: &Function,
        arguments: &[(Space, u64)],
        returns: &[(Space, u64)],
    ) -> Result<Frame<'a>, Reject> {
        let mut variables = vec![None; function.variables.len()];
        let given = function.params.iter().zip(arguments).chain(function.returns.iter().zip(returns));
        for (VariableId(id), place) in given {
            *variables.get_mut(*id as usize).ok_or("unknown parameter")? = Some(*place);
        }
        for (index, variable) in function.variables.iter().enumerate() {
            if variables[index].is_some() {
                continue;
            }
            let align = variable.align.max(1);
            let place = |bytes: &mut u64, limit: u64| -> Result<u64, Reject> {
                let start = bytes.checked_next_multiple_of(align).ok_or("alignment")?;
                let end = start.checked_add(variable.size).filter(|end| *end <= limit);
                *bytes = end.ok_or_else(|| format!("{} needs too much memory", variable.name))?;
                Ok(start)
            };
            variables[index] = Some(match variable.space {
                Space::Shared => {
                    let key = (function.name.clone(), index as u32);
                    let start = match self.shared.get(&key) {
                        Some(start) => *start,
                        None => {
                            let start = place(&mut self.shared_bytes, u32::MAX.into())?;
                            self.shared.insert(key, start);
                            start
                        }
                    };
                    (Space::Shared, crate::memory::windows::SHARED_BASE + start)
                }
                // Parameters of calls are memory of the thread's own, as local variables are.
                Space::Local | Space::Param => (Space::Local, place(&mut self.local_bytes, MAX_LOCAL_BYTES)?),
                // Global and constant variables of a function were placed with the module's, by qualified name.
                _ => match self.context.addresses.get(&format!("{}.{index}", function.name)) {
                    Some(place) => *place,
                    None => return Err(format!("{} has no address", variable.name)),
                },
            });
        }
        Ok(Frame { variables, module: self.context.addresses })
    }

    fn function(&mut self, function: &'a Function, arguments: &[(Space, u64)], returns: &[(Space, u64)]) {
        let Some(body) = &function.body else {
            self.reject(function, function.line, &function.name, "it has no body");
            return;
        };
        let frame = match self.frame(function, arguments, returns) {
            Ok(frame) => frame,
            Err(reason) => return self.reject(function, function.line, &function.name, reason),
        };
        let registers = Decoder::new(function, &mut self.allocation, &frame).registers;
        self.calls.push(function.name.clone());
        // Where each instruction of the body begins, and which branches need that.
        let mut starts: Vec<Pc> = Vec::with_capacity(body.len() + 1);
        let mut branches: Vec<(usize, Vec<u32>)> = Vec::new();
        for instruction in body {
            starts.push(self.instructions.len() as Pc);
            if self.instructions.len() >= MAX_INSTRUCTIONS {
                self.reject(function, instruction.line, &instruction.opcode, "the kernel is too large");
                break;
            }
            if let Err(reason) = self.instruction(function, &frame, &registers, instruction, &mut branches) {
                self.reject(function, instruction.line, &instruction.opcode, reason);
            }
        }
        starts.resize(body.len() + 1, self.instructions.len() as Pc);
        let end = self.instructions.len() as Pc;
        for (index, targets) in branches {
            // u32::MAX stands for the end: where a `ret` goes.
            let target = |body_index: &u32| starts.get(*body_index as usize).copied().unwrap_or(end);
            self.instructions[index].op = match targets.as_slice() {
                [one] if !matches!(self.instructions[index].op, Op::BranchTable(_)) => {
                    Op::Branch(target(one))
                }
                several => Op::BranchTable(several.iter().map(target).collect()),
            };
        }
        self.calls.pop();
        if self.calls.is_empty() {
            // Running off the end of a kernel ends the thread.
            let place = Instruction {
                line: body.last().map_or(function.line, |last| last.line),
                source: None,
                guard: None,
                opcode: "exit".into(),
                operands: Vec::new(),
            };
            let exit =
                Decoded { op: Op::Exit, operands: Operands::default(), class: InstructionClass::Control };
            self.push(&place, exit, Slot::predicate(Lanes::TRUE));
        }
    }

    fn instruction(
        &mut self,
        function: &'a Function,
        frame: &Frame<'a>,
        registers: &Rc<[Slot]>,
        instruction: &'a Instruction,
        branches: &mut Vec<(usize, Vec<u32>)>,
    ) -> Result<(), Reject> {
        let mut decoder = Decoder {
            function,
            allocation: &mut self.allocation,
            symbols: frame,
            registers: Rc::clone(registers),
        };
        let guard = match instruction.guard {
            None => Slot::predicate(Lanes::TRUE),
            Some(guard) => {
                let operand = match guard.negated {
                    true => Operand::Not(guard.register),
                    false => Operand::Register(guard.register),
                };
                decoder.source_predicate(&operand)?
            }
        };
        let is_kernel = self.calls.len() == 1;
        match instruction.root() {
            "bra" | "brx" => {
                let (decoded, targets) = control::branch(&mut decoder, instruction)?;
                branches.push((self.instructions.len(), targets));
                self.push(instruction, decoded, guard);
                Ok(())
            }
            "ret" if !is_kernel => {
                branches.push((self.instructions.len(), vec![u32::MAX]));
                let operands = Operands::default();
                let decoded = Decoded { op: Op::Branch(0), operands, class: InstructionClass::Control };
                self.push(instruction, decoded, guard);
                Ok(())
            }
            "call" => self.call(function, frame, registers, instruction, guard),
            _ => {
                check_target(&self.context.module.target, instruction)?;
                let decoded = decode(&mut decoder, instruction, self.context.perturb_approx)?;
                self.push(instruction, decoded, guard);
                Ok(())
            }
        }
    }

    fn call(
        &mut self,
        function: &'a Function,
        frame: &Frame<'a>,
        registers: &Rc<[Slot]>,
        instruction: &'a Instruction,
        guard: Slot,
    ) -> Result<(), Reject> {
        let (returned, name, given) = control::call_operands(instruction)?;
        let place = |operand: &Operand| match operand {
            Operand::Param(id) => frame.address(&Symbol::Local(*id)).ok_or("unknown parameter".to_string()),
            other => Err(format!("a parameter in memory is expected, not {other:?}")),
        };
        let arguments = given.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let returns = returned.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        // A guarded call: lanes without it go round it. What comes after is only known later.
        let jump = (guard != Slot::predicate(Lanes::TRUE)).then(|| {
            let index = self.instructions.len();
            let operands = Operands::default();
            let decoded = Decoded { op: Op::Branch(0), operands, class: InstructionClass::Control };
            self.push(instruction, decoded, guard.negated());
            index
        });
        let mut decoder = Decoder {
            function,
            allocation: &mut self.allocation,
            symbols: frame,
            registers: Rc::clone(registers),
        };
        if let Some(decoded) = control::system_call(&mut decoder, name, &arguments, &returns)? {
            for decoded in decoded {
                self.push(instruction, decoded, Slot::predicate(Lanes::TRUE));
            }
        } else {
            let callee = self.context.module.functions.iter().find(|f| f.name == name && f.body.is_some());
            let callee = callee.ok_or_else(|| format!("`{name}` is not defined in the module"))?;
            if self.calls.contains(&callee.name) {
                return Err(format!("recursive calls (of `{name}`) are not supported"));
            }
            if callee.params.len() != arguments.len() || callee.returns.len() != returns.len() {
                return Err(format!("the call does not fit the parameters of `{name}`"));
            }
            self.function(callee, &arguments, &returns);
        }
        if let Some(index) = jump {
            self.instructions[index].op = Op::Branch(self.instructions.len() as Pc);
        }
        Ok(())
    }
}

impl Builder<'_> {
    /// The program, and what in it is not supported. `static_shared_bytes` is where dynamic shared memory starts.
    pub fn finish(
        mut self,
        module: &ast::Module,
        kernel: &Function,
        parameters: Vec<Parameter>,
        parameter_bytes: u32,
        static_shared_bytes: u64,
    ) -> (Program, Vec<Unsupported>) {
        let mut inter_block_sync = false;
        let mut order_dependent = false;
        let mut tracks_copies = false;
        for instruction in &self.instructions {
            let strong = |space: Space, strength: Strength| {
                !matches!(space, Space::Shared | Space::SharedCluster)
                    && matches!(strength, Strength::Strong(scope) if scope > Scope::Cta)
            };
            match &instruction.op {
                Op::Load(op) | Op::Store(op) => inter_block_sync |= strong(op.space, op.strength),
                Op::Atomic(op) if !matches!(op.space, Space::Shared | Space::SharedCluster) => {
                    inter_block_sync |= op.old.is_some() || op.acquire || op.release;
                    order_dependent |= op.operation.ty.is_float();
                }
                Op::Bulk(op) => order_dependent |= op.is_order_dependent(),
                Op::Clock { .. } | Op::Print => order_dependent = true,
                Op::Mbarrier(op) => tracks_copies |= matches!(op.kind, MbarrierKind::CopyArrive { .. }),
                _ => {}
            }
        }
        let register_uses = registers::find(&mut self.instructions);
        let program = Program {
            name: kernel.name.clone(),
            instructions: self.instructions,
            register_uses,
            places: self.places,
            files: module.files.as_slice().into(),
            rows: self.allocation.rows,
            predicates: self.allocation.predicates,
            constants: self.allocation.constants.into(),
            specials: self.allocation.specials,
            parameters,
            parameter_bytes,
            static_shared_bytes: static_shared_bytes as u32,
            local_bytes: self.local_bytes as u32,
            directives: kernel.directives.clone(),
            inter_block_sync,
            order_dependent,
            tracks_copies,
        };
        (program, self.unsupported)
    }
}

/// Decodes an instruction that is neither a branch nor a call.
fn decode(decoder: &mut Decoder<'_>, instruction: &Instruction, perturb: bool) -> Result<Decoded, Reject> {
    type Family = fn(&mut Decoder<'_>, &Instruction) -> Result<Option<Decoded>, Reject>;
    let families: [Family; 9] = [
        control::decode,
        // Before `memory`, which has the other forms of `cp`, `st`, `red` and `fence`.
        bulk::decode,
        mbarrier::decode,
        cluster::decode,
        memory::decode,
        synchronization::decode,
        tensor::decode,
        wgmma::decode,
        grid::decode,
    ];
    for family in families {
        if let Some(decoded) = family(decoder, instruction)? {
            return Ok(decoded);
        }
    }
    if let Some(decoded) = alu::decode_float(decoder, instruction, perturb)? {
        return Ok(decoded);
    }
    match alu::decode_integer(decoder, instruction)? {
        Some(decoded) => Ok(decoded),
        None => Err(unsupported_family(instruction.root())),
    }
}

/// Whether it moves a whole register or a constant, not parts of one.
fn moves_register(instruction: &Instruction) -> bool {
    let whole = |operand: &Operand| !matches!(operand, Operand::Vector(_));
    instruction.root() == "mov" && instruction.operands.iter().all(whole)
}

/// Refuses what the module's target does not have: an assembler would.
fn check_target(target: &str, instruction: &Instruction) -> Result<(), Reject> {
    let fp8 = || instruction.modifiers().any(|m| matches!(m, "e4m3x2" | "e5m2x2"));
    let has = |names: &[&str]| instruction.modifiers().any(|m| names.contains(&m));
    let of_architecture = matches!(instruction.root(), "wgmma" | "setmaxnreg");
    if of_architecture && !target.starts_with("sm_90a") {
        return Err(format!("it needs the target sm_90a, the module's target is {target}"));
    }
    let needed = match instruction.root() {
        "stmatrix" | "elect" | "mapa" | "getctarank" | "griddepcontrol" => Some(ComputeCapability::Sm90),
        "mbarrier" => Some(mbarrier::required_compute_capability(instruction)),
        "cp" if has(&["bulk"]) => Some(ComputeCapability::Sm90),
        "st" | "red" if has(&["async"]) => Some(ComputeCapability::Sm90),
        "fence" if has(&["mbarrier_init", "async", "async::generic", "tensormap::generic"]) => {
            Some(ComputeCapability::Sm90)
        }
        "fence" if has(&["acquire", "release", "cluster"]) => Some(ComputeCapability::Sm90),
        "ld" | "st" | "atom" | "red" | "cvta" | "isspacep" if has(&["cluster", "shared::cluster"]) => {
            Some(ComputeCapability::Sm90)
        }
        "bar" | "barrier" if has(&["cluster"]) => Some(ComputeCapability::Sm90),
        "mma" => tensor::required_compute_capability(instruction),
        "cvt" if fp8() => Some(ComputeCapability::Sm89),
        _ => None,
    };
    let has = ComputeCapability::of_target(target);
    match needed {
        Some(needed) if has.is_some_and(|has| has < needed) => {
            Err(format!("it needs compute capability {needed}, the module's target is {target}"))
        }
        _ => Ok(()),
    }
}

/// Why an instruction that no family knows is not executed.
fn unsupported_family(root: &str) -> Reject {
    match root {
        "multimem" => "memory of several devices under one address is not supported".into(),
        "tensormap" => "kernels that change tensor maps are not supported".into(),
        "tcgen05" | "clusterlaunchcontrol" => {
            "instructions of compute capability 10.0 and newer are not supported".into()
        }
        "tex" | "tld4" | "txq" | "suld" | "sust" | "sured" | "suq" | "istypep" => {
            "textures and surfaces are not supported".into()
        }
        "alloca" | "stacksave" | "stackrestore" => {
            "stack memory of a size known at run time is not supported".into()
        }
        "discard" => "discarding memory is not supported".into(),
        _ => "unknown instruction".into(),
    }
}
