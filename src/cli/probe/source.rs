//! PTX text of probes.

use std::fmt::Write as _;

use super::{Inputs, Probe};

/// A compute capability: major, minor.
pub type Capability = (u32, u32);
pub const AMPERE: Capability = (8, 0);
/// The Ampere of graphics cards.
pub const AMPERE_86: Capability = (8, 6);
pub const ADA: Capability = (8, 9);
pub const HOPPER: Capability = (9, 0);

/// Registers that every body may use beside `%in` and `%out`, the addresses of the thread's own words, and `%thread`.
const SCRATCH: &str = "\
.reg .pred %p, %q;
.reg .b16 %h<8>;
.reg .b32 %t<8>, %w<128>, %thread, %cta, %threads;
.reg .b64 %l<32>, %in, %out;
";

/// A probe of instructions that newer architectures have no more.
pub fn probe_of_one_architecture(
    name: String,
    needs: Capability,
    inputs: Inputs,
    out_words: u32,
    n: u32,
    block: u32,
    body: &str,
) -> Probe {
    let probe = probe(name, needs, inputs, out_words, n, block, body);
    let (major, minor) = needs;
    let target = format!(".target sm_{major}{minor}");
    Probe { ptx: probe.ptx.replacen(&target, &format!("{target}a"), 1), only: true, ..probe }
}

/// A probe around a kernel's body.
pub fn probe(
    name: String,
    needs: Capability,
    inputs: Inputs,
    out_words: u32,
    n: u32,
    block: u32,
    body: &str,
) -> Probe {
    let in_words = inputs.words_per_thread(n);
    // The oldest version that has all the forms.
    let version = if needs >= ADA { "8.8" } else { "8.2" };
    let (major, minor) = needs;
    let ptx = format!(
        "\
.version {version}
.target sm_{major}{minor}
.address_size 64
.visible .entry probe(.param .u64 input, .param .u64 output)
{{
{SCRATCH}ld.param.u64 %in, [input];
ld.param.u64 %out, [output];
cvta.to.global.u64 %in, %in;
cvta.to.global.u64 %out, %out;
mov.u32 %thread, %tid.x;
mov.u32 %cta, %ctaid.x;
mov.u32 %threads, %ntid.x;
mad.lo.u32 %t0, %cta, %threads, %thread;
mad.wide.u32 %in, %t0, {}, %in;
mad.wide.u32 %out, %t0, {}, %out;
{body}ret;
}}
",
        4 * in_words,
        4 * out_words
    );
    Probe {
        name,
        ptx,
        kernel: "probe",
        n,
        block,
        in_words,
        out_words,
        inputs,
        needs,
        only: false,
        tensor_map: None,
    }
}

/// `{a,b}c` is `ac` and `bc`; groups do not lie in each other.
pub fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_string()];
    };
    let Some((group, after)) = rest.split_once('}') else {
        return vec![pattern.to_string()];
    };
    let tails = expand(after);
    group.split(',').flat_map(|one| tails.iter().map(move |tail| format!("{before}{one}{tail}"))).collect()
}

/// Loads the words `first..first + count` of a thread into `%w` registers from `register` on.
pub fn load_words(register: usize, first: usize, count: usize) -> String {
    let mut text = String::new();
    for i in 0..count {
        // Writing to a string does not fail.
        let _ = writeln!(text, "ld.global.b32 %w{}, [%in+{}];", register + i, 4 * (first + i));
    }
    text
}

/// Stores registers as words of a thread from `first` on.
pub fn store_words(registers: &[String], first: usize) -> String {
    let mut text = String::new();
    for (i, register) in registers.iter().enumerate() {
        let _ = writeln!(text, "st.global.b32 [%out+{}], {register};", 4 * (first + i));
    }
    text
}

/// `{%w4, %w5}`.
pub fn vector(prefix: &str, first: usize, count: usize) -> String {
    let names: Vec<_> = (first..first + count).map(|i| format!("{prefix}{i}")).collect();
    format!("{{{}}}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn groups_are_expanded() {
        assert_eq!(expand("add"), ["add"]);
        assert_eq!(expand("{a,b}.x{,.y}"), ["a.x", "a.x.y", "b.x", "b.x.y"]);
    }
}
