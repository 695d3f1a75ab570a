//! Modules: PTX that is loaded on a device.

mod used;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{ComputeCapability, DeviceProperties};
use crate::error::{Error, Result, Unsupported};
use crate::memory::{GlobalMemory, windows};
use crate::program::{Builder, Context, Parameter, Program};
use crate::ptx::ast::{self, Space};

/// A module that is loaded on a device: kernels, and variables in its memory.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Loaded>,
}

struct Loaded {
    kernels: Vec<Kernel>,
    variables: Arc<Variables>,
}

/// The variables of a module: name, address, bytes. They are there as long as the module or one of its kernels is.
struct Variables {
    memory: Arc<GlobalMemory>,
    list: Vec<(String, u64, u64)>,
}

impl Drop for Variables {
    fn drop(&mut self) {
        for (_, address, _) in &self.list {
            self.memory.free_variable(*address);
        }
    }
}

/// A kernel of a module.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) program: Arc<Program>,
    /// What its instructions name has to stay.
    _variables: Arc<Variables>,
}

impl Kernel {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Its parameters, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.program.parameters
    }

    /// Bytes of its packed parameters.
    pub fn parameter_bytes(&self) -> u32 {
        self.program.parameter_bytes
    }

    /// Static shared memory of a block, in bytes.
    pub fn static_shared_bytes(&self) -> u32 {
        self.program.static_shared_bytes
    }

    /// Local memory of a thread, in bytes.
    pub fn local_bytes(&self) -> u32 {
        self.program.local_bytes
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("kernels", &self.inner.kernels).finish_non_exhaustive()
    }
}

impl Module {
    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Result<Kernel> {
        self.inner.kernels.iter().find(|kernel| kernel.name() == name).cloned().ok_or_else(|| {
            Error::NotFound {
                what: "kernel",
                name: name.into(),
                available: self.inner.kernels.iter().map(|kernel| kernel.name().into()).collect(),
            }
        })
    }

    /// Its kernels, in order.
    pub fn kernels(&self) -> impl Iterator<Item = Kernel> {
        self.inner.kernels.iter().cloned()
    }

    /// Address and bytes of a `.global` or `.const` variable.
    pub fn variable(&self, name: &str) -> Result<(u64, u64)> {
        let found = self.inner.variables.list.iter().find(|(known, ..)| known == name);
        found.map(|(_, address, bytes)| (*address, *bytes)).ok_or_else(|| Error::NotFound {
            what: "variable",
            name: name.into(),
            available: self.inner.variables.list.iter().map(|(name, ..)| name.clone()).collect(),
        })
    }
}

/// A kernel as its PTX declares it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct KernelInfo {
    /// Its name.
    pub name: String,
    /// The line of its name.
    pub line: u32,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// Bytes of its packed parameters.
    pub parameter_bytes: u32,
    /// Static shared memory of a block, in bytes.
    pub static_shared_bytes: u32,
    /// Local memory of a thread, in bytes.
    pub local_bytes: u32,
    /// `.maxntid`.
    pub max_block: Option<[u32; 3]>,
    /// `.reqntid`.
    pub required_block: Option<[u32; 3]>,
    /// `.minnctapersm`.
    pub min_blocks_per_sm: Option<u32>,
    /// `.maxnreg`.
    pub max_registers: Option<u32>,
    /// `.reqnctapercluster`: every launch has clusters of so many blocks.
    pub required_cluster: Option<[u32; 3]>,
    /// `.maxclusterrank`: blocks of a cluster at most.
    pub max_cluster_blocks: Option<u32>,
    /// `.explicitcluster`: every launch has clusters.
    pub explicit_cluster: bool,
    /// `.blocksareclusters`: the grid of a launch counts clusters.
    pub blocks_are_clusters: bool,
    /// Instructions by opcode without modifiers, as they stand in the file.
    pub instructions: std::collections::BTreeMap<String, u32>,
}

/// What a PTX file holds.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Inspection {
    /// `.version`, major and minor.
    pub version: (u32, u32),
    /// `.target`, such as `sm_80`.
    pub target: String,
    /// Its kernels, in order.
    pub kernels: Vec<KernelInfo>,
    /// What the simulator does not execute.
    pub unsupported: Vec<Unsupported>,
}

/// Looks at a PTX file without a device. Fails where it is not well formed; what is not supported is listed.
pub fn inspect(ptx: &str) -> Result<Inspection> {
    let module = crate::ptx::parse(ptx)?;
    let layout = Layout::new(&module, &mut |_, bytes| Ok(bytes))?;
    let mut kernels = Vec::new();
    let mut unsupported = Vec::new();
    for function in module.functions.iter().filter(|function| function.is_kernel && function.body.is_some()) {
        let (program, rejected) = decode(&module, function, &layout, false)?;
        let mut instructions = std::collections::BTreeMap::new();
        for instruction in function.body.iter().flatten() {
            *instructions.entry(instruction.root().to_string()).or_insert(0) += 1;
        }
        unsupported.extend(rejected);
        kernels.push(KernelInfo {
            name: program.name,
            line: function.line,
            parameters: program.parameters,
            parameter_bytes: program.parameter_bytes,
            static_shared_bytes: program.static_shared_bytes,
            local_bytes: program.local_bytes,
            max_block: function.directives.max_block,
            required_block: function.directives.required_block,
            min_blocks_per_sm: function.directives.min_blocks_per_sm,
            max_registers: function.directives.max_registers,
            required_cluster: function.directives.required_cluster,
            max_cluster_blocks: function.directives.max_cluster_rank,
            explicit_cluster: function.directives.explicit_cluster,
            blocks_are_clusters: function.directives.blocks_are_clusters,
            instructions,
        });
    }
    // A device function that several kernels call is named once.
    let mut named = std::collections::HashSet::new();
    unsupported.retain(|one| named.insert((one.line, one.instruction.clone(), one.reason.clone())));
    Ok(Inspection { version: module.version, target: module.target, kernels, unsupported })
}

/// Where the variables of a module lie.
struct Layout {
    addresses: HashMap<String, (Space, u64)>,
    shared_bytes: u64,
}

/// Variables at module scope, and `.global` and `.const` ones of functions under a name of their own.
fn variables(module: &ast::Module) -> impl Iterator<Item = (String, &ast::Variable)> {
    let own = module.variables.iter().map(|variable| (variable.name.clone(), variable));
    let inner = module.functions.iter().flat_map(|function| {
        let placed = function.variables.iter().enumerate();
        let placed = placed.filter(|(_, variable)| matches!(variable.space, Space::Global | Space::Const));
        placed.map(|(index, variable)| (format!("{}.{index}", function.name), variable))
    });
    own.chain(inner)
}

impl Layout {
    /// `place` gives a variable of global or constant memory its address.
    fn new(module: &ast::Module, place: &mut dyn FnMut(&ast::Variable, u64) -> Result<u64>) -> Result<Self> {
        let mut layout = Self { addresses: HashMap::new(), shared_bytes: 0 };
        let mut dynamic = Vec::new();
        for (name, variable) in variables(module) {
            match variable.space {
                Space::Global | Space::Const => {
                    if variable.is_extern {
                        let message = format!("`{name}` is extern: modules cannot be linked");
                        return Err(Error::syntax(variable.line, message));
                    }
                    let address = place(variable, variable.size)?;
                    layout.addresses.insert(name, (variable.space, address));
                }
                Space::Shared if variable.size == 0 => dynamic.push((name, variable.align)),
                Space::Shared => layout.place_shared(name, variable)?,
                _ => {
                    let message = format!("`{name}` lies in a state space that modules cannot have");
                    return Err(Error::syntax(variable.line, message));
                }
            }
        }
        // Dynamic shared memory starts behind all static variables, which functions may add to: see `decode`.
        for (name, align) in dynamic {
            layout.addresses.insert(name, (Space::Shared, align));
        }
        Ok(layout)
    }

    /// Places a variable of shared memory behind those that are there.
    fn place_shared(&mut self, name: String, variable: &ast::Variable) -> Result<()> {
        let start = self.shared_bytes.checked_next_multiple_of(variable.align.max(1));
        let end = start.and_then(|start| start.checked_add(variable.size));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= u32::MAX.into())) else {
            return Err(Error::syntax(variable.line, format!("`{name}` needs too much shared memory")));
        };
        self.shared_bytes = end;
        self.addresses.insert(name, (Space::Shared, windows::SHARED_BASE + start));
        Ok(())
    }

    /// The same, but with those shared variables alone that a kernel uses.
    fn of_kernel(&self, module: &ast::Module, kernel: &ast::Function) -> Result<Self> {
        let mut own = Self { addresses: self.addresses.clone(), shared_bytes: 0 };
        let used = used::names(module, kernel);
        let shared = module.variables.iter().filter(|v| v.space == Space::Shared && v.size != 0);
        for variable in shared.filter(|variable| used.contains(variable.name.as_str())) {
            own.place_shared(variable.name.clone(), variable)?;
        }
        Ok(own)
    }
}

/// The offsets of a kernel's parameters, and their bytes.
fn parameters(kernel: &ast::Function) -> Result<(Vec<Parameter>, u32)> {
    let mut end = 0u64;
    let mut list = Vec::new();
    for id in &kernel.params {
        let variable = kernel
            .variables
            .get(id.0 as usize)
            .ok_or_else(|| Error::syntax(kernel.line, "unknown parameter"))?;
        let too_large = || Error::syntax(variable.line, format!("`{}` is too large", variable.name));
        let align = variable.align.max(1);
        let offset = end.checked_next_multiple_of(align).ok_or_else(too_large)?;
        end = offset.checked_add(variable.size).filter(|end| *end <= 1 << 20).ok_or_else(too_large)?;
        list.push(Parameter {
            name: variable.name.clone(),
            offset: offset as u32,
            size: variable.size as u32,
            align: align as u32,
        });
    }
    Ok((list, end as u32))
}

/// Decodes a kernel, and lists what in it is not supported.
fn decode(
    module: &ast::Module,
    kernel: &ast::Function,
    layout: &Layout,
    perturb_approx: bool,
) -> Result<(Program, Vec<Unsupported>)> {
    let (parameters, parameter_bytes) = parameters(kernel)?;
    let layout = layout.of_kernel(module, kernel)?;
    let offsets: Vec<u64> = parameters.iter().map(|parameter| parameter.offset.into()).collect();
    // Only the shared variables of the kernel and of what it calls take room, so where dynamic shared memory starts is
    // known when all is decoded: decode twice where it matters.
    let dynamic: Vec<(&String, u64)> = module
        .variables
        .iter()
        .filter(|variable| variable.space == Space::Shared && variable.size == 0)
        .map(|variable| (&variable.name, variable.align.max(1)))
        .collect();
    let align = dynamic.iter().map(|(_, align)| *align).max().unwrap_or(1).max(16);
    let mut start = layout.shared_bytes.next_multiple_of(align);
    loop {
        let mut addresses = layout.addresses.clone();
        for (name, _) in &dynamic {
            addresses.insert((*name).clone(), (Space::Shared, windows::SHARED_BASE + start));
        }
        let context = Context { module, addresses: &addresses, perturb_approx };
        let mut builder = Builder::new(&context, layout.shared_bytes);
        builder.kernel(kernel, &offsets);
        let end = if dynamic.is_empty() {
            builder.shared_bytes
        } else {
            builder.shared_bytes.next_multiple_of(align)
        };
        if !dynamic.is_empty() && end > start {
            start = end;
            continue;
        }
        return Ok(builder.finish(module, kernel, parameters, parameter_bytes, end));
    }
}

/// What a PTX target needs of a device: `sm_80` runs on 8.0 and newer, `sm_90a` on 9.0 alone.
fn check_target(target: &str, device: ComputeCapability) -> Result<()> {
    let digits: String = target.trim_start_matches("sm_").chars().take_while(char::is_ascii_digit).collect();
    let (major, minor) = device.version();
    let wanted: u32 = digits.parse().map_err(|_| Error::Module(format!("unknown target `{target}`")))?;
    let has = major * 10 + minor;
    let exact = target.ends_with('a');
    if wanted > has || exact && wanted != has {
        return Err(Error::Module(format!(
            "its target is {target}, the device has compute capability {device}"
        )));
    }
    Ok(())
}

/// Loads a module; `only` names the kernels that are wanted.
pub(crate) fn load(
    ptx: &str,
    only: Option<&[&str]>,
    memory: &Arc<GlobalMemory>,
    properties: &DeviceProperties,
    perturb_approx: bool,
) -> Result<Module> {
    let module = crate::ptx::parse(ptx)?;
    check_target(&module.target, properties.compute_capability)?;
    let constant: u64 = module
        .variables
        .iter()
        .filter(|variable| variable.space == Space::Const)
        .fold(0, |sum, variable| variable.size.saturating_add(sum));
    if constant > properties.constant_memory.into() {
        return Err(Error::Module(format!(
            "{constant} bytes of constant memory, {} are there",
            properties.constant_memory
        )));
    }
    let kernels = || module.functions.iter().filter(|function| function.is_kernel && function.body.is_some());
    if let Some(name) =
        only.unwrap_or_default().iter().find(|name| !kernels().any(|kernel| kernel.name == **name))
    {
        return Err(Error::NotFound {
            what: "kernel",
            name: (*name).into(),
            available: kernels().map(|kernel| kernel.name.clone()).collect(),
        });
    }
    // The kernels first, at addresses that only count variables: nothing is allocated for a module that is refused.
    let wanted = || kernels().filter(|kernel| only.is_none_or(|names| names.contains(&kernel.name.as_str())));
    let trial = Layout::new(&module, &mut |_, bytes| Ok(bytes))?;
    let mut unsupported = Vec::new();
    for kernel in wanted() {
        unsupported.extend(decode(&module, kernel, &trial, perturb_approx)?.1);
    }
    if !unsupported.is_empty() {
        return Err(Error::Unsupported(unsupported));
    }
    // What is placed is freed with its owner, whatever fails from here on.
    let mut placed = Variables { memory: Arc::clone(memory), list: Vec::new() };
    let layout = Layout::new(&module, &mut |variable, bytes| {
        let read_only = variable.space == Space::Const;
        let address = memory
            .allocate_variable(&variable.name, bytes.max(1), variable.align.max(1), read_only)
            .map_err(Error::Module)?;
        placed.list.push((variable.name.clone(), address, bytes));
        Ok(address)
    })?;
    let placed = Arc::new(placed);
    for (name, variable) in variables(&module) {
        if let Some((Space::Global | Space::Const, address)) = layout.addresses.get(&name).copied() {
            initialize(variable, address, &layout, memory)?;
        }
    }
    let mut loaded = Vec::new();
    for kernel in wanted() {
        let (program, _) = decode(&module, kernel, &layout, perturb_approx)?;
        if program.parameter_bytes > properties.max_parameter_bytes {
            return Err(Error::Module(format!(
                "kernel `{}` takes {} bytes of parameters, {} are allowed",
                program.name, program.parameter_bytes, properties.max_parameter_bytes
            )));
        }
        loaded.push(Kernel { program: Arc::new(program), _variables: Arc::clone(&placed) });
    }
    Ok(Module { inner: Arc::new(Loaded { kernels: loaded, variables: placed }) })
}

/// Writes a variable's first value: variables without one start as zeros.
fn initialize(variable: &ast::Variable, address: u64, layout: &Layout, memory: &GlobalMemory) -> Result<()> {
    let failed = |message: String| Error::Module(message);
    memory.fill(address, &[0], variable.size).map_err(failed)?;
    memory.host_write(address, &variable.initial).map_err(failed)?;
    for relocation in &variable.relocations {
        let (space, target) = layout.addresses.get(&relocation.symbol).copied().ok_or_else(|| {
            Error::syntax(variable.line, format!("the address of unknown `{}`", relocation.symbol))
        })?;
        let base = match space {
            Space::Shared if relocation.generic => windows::SHARED,
            _ => 0,
        };
        let value = base.wrapping_add(target).wrapping_add(relocation.addend as u64);
        let bytes = value.unbounded_shr(relocation.shift).to_le_bytes();
        let stored = bytes.get(..relocation.size as usize).unwrap_or(&bytes);
        memory.host_write(address.wrapping_add(relocation.offset), stored).map_err(failed)?;
    }
    Ok(())
}
