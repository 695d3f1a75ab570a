//! Where the elements of matrices lie in registers: matrices whose values are coordinates.

use super::mma::{DOUBLES, Element, FLOATS, Form, INTEGERS, QUADS};
use super::source::{AMPERE, Capability, HOPPER, load_words, probe, store_words};
use super::{Inputs, Probe};

/// Warps of a probe of `mma`: in one half of them A has a single one, in the other half B.
const WARPS: usize = 16;

pub fn probes() -> Vec<Probe> {
    let forms = [FLOATS, QUADS, DOUBLES, INTEGERS].concat();
    let mut probes: Vec<_> = forms.iter().map(one_hot).collect();
    probes.extend(movements());
    probes
}

/// The words of a lane's elements.
fn pack(element: Element, words: usize, value: impl Fn(usize) -> f64) -> Vec<u32> {
    let bits = element.bits() as usize;
    let mut packed = vec![0; words];
    for i in 0..32 * words / bits {
        let code = element.encode(value(i));
        if bits == 64 {
            packed[2 * i] = code as u32;
            packed[2 * i + 1] = (code >> 32) as u32;
        } else {
            packed[i * bits / 32] |= (code as u32) << (i * bits % 32);
        }
    }
    packed
}

/// One matrix holds numbers that name lane and element as well as the type can, the other a single one: D shows which elements
/// meet, and where their product goes. C is zero.
fn one_hot(form: &Form) -> Probe {
    let [a, b, c, d] = form.words;
    let mut words = Vec::new();
    for warp in 0..WARPS {
        for lane in 0..32 {
            for (matrix, (element, count)) in [(form.a, a), (form.b, b)].into_iter().enumerate() {
                let elements = 32 * count / element.bits() as usize;
                let hot = (warp % 2 == matrix).then_some(((warp * 5 + warp / 2) % 32, warp / 2 % elements));
                words.extend(pack(element, count, |i| match hot {
                    Some(place) => f64::from(u8::from((lane, i) == place)),
                    None => ((1 + lane + 32 * i) as u64 & element.largest_integer()) as f64,
                }));
            }
        }
    }
    let zeros: String = (a + b..a + b + c).map(|i| format!("mov.b32 %w{i}, 0;\n")).collect();
    let registers: Vec<_> = (64..64 + d).map(|i| format!("%w{i}")).collect();
    let body = format!(
        "{}{zeros}{}{}",
        load_words(0, 0, a + b),
        form.execute([0, a, a + b, 64]),
        store_words(&registers, 0)
    );
    let name = format!("layout of mma.{}", form.modifiers);
    probe(name, form.needs, Inputs::Words(words), d as u32, 32 * WARPS as u32, 32, &body)
}

/// `ldmatrix`, `stmatrix` and `movmatrix` on numbers that count 16-bit elements. Lane `l` names row `5 l % 32`.
fn movements() -> Vec<Probe> {
    let fill = ".shared .align 16 .b32 tile[128];\nmov.b32 %t7, tile;\nmad.lo.u32 %t6, %thread, 16, %t7;\n\
                mad.lo.u32 %t5, %thread, 0x00080008, 0x00010000;\nadd.u32 %w0, %t5, 0;\nadd.u32 %w1, %t5, 0x00020002;\n\
                add.u32 %w2, %t5, 0x00040004;\nadd.u32 %w3, %t5, 0x00060006;\n";
    let address = "mul.lo.u32 %t6, %thread, 5;\nand.b32 %t6, %t6, 31;\nmad.lo.u32 %t6, %t6, 16, %t7;\n";
    let make = |name: String, needs: Capability, out_words: u32, body: &str| {
        let inputs = Inputs::Kinds { kinds: "raw".into(), seed: 1 };
        probe(name, needs, inputs, out_words, 32, 32, body)
    };
    let mut probes = Vec::new();
    for trans in ["", ".trans"] {
        for count in [1, 2, 4] {
            let registers: Vec<_> = (0..count).map(|i| format!("%w{i}")).collect();
            let list = registers.join(", ");
            let body = format!(
                "{fill}st.shared.v4.b32 [%t6], {{%w0, %w1, %w2, %w3}};\nbar.warp.sync -1;\n{address}\
                 ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{list}}}, [%t6];\n{}",
                store_words(&registers, 0)
            );
            probes.push(make(format!("ldmatrix.x{count}{trans}"), AMPERE, count, &body));
            let all: Vec<_> = (0..4).map(|i| format!("%w{i}")).collect();
            let body = format!(
                "{fill}mov.b32 %w8, -1;\nst.shared.v4.b32 [%t6], {{%w8, %w8, %w8, %w8}};\nbar.warp.sync -1;\n{address}\
                 stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 [%t6], {{{list}}};\nbar.warp.sync -1;\n\
                 mad.lo.u32 %t6, %thread, 16, %t7;\nld.shared.v4.b32 {{%w0, %w1, %w2, %w3}}, [%t6];\n{}",
                store_words(&all, 0)
            );
            probes.push(make(format!("stmatrix.x{count}{trans}"), HOPPER, 4, &body));
        }
    }
    let body = format!(
        "mad.lo.u32 %w0, %thread, 0x00020002, 0x00010000;\nmovmatrix.sync.aligned.m8n8.trans.b16 %w1, %w0;\n{}",
        store_words(&["%w1".to_string()], 0)
    );
    probes.push(make("movmatrix.trans".into(), AMPERE, 1, &body));
    probes
}
