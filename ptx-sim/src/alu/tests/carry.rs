//! Sums with a carry: each against a wider one, and chains against numbers of many words.

use super::{Case, LANES, Random, edges, low_bits, refusal, register};
use crate::alu::decode_integer;
use crate::ptx::ast::Type;

/// Values of a type: edge values mixed with random ones.
fn values(random: &mut Random, ty: Type, edges: &[u64]) -> [u64; LANES] {
    std::array::from_fn(|_| match random.next() % 3 {
        0 => edges[random.next() as usize % edges.len()],
        _ => random.value(ty.bits()),
    })
}

/// The addends of an instruction, of its sources.
type Addends = fn(Type, &[u64; 3]) -> [u128; 2];

fn high(ty: Type, a: u64, b: u64) -> u128 {
    let product = super::number(ty, a).wrapping_mul(super::number(ty, b));
    let mask = u128::from(low_bits(ty.bits()));
    if ty == Type::U64 {
        (u128::from(a) * u128::from(b)) >> 64
    } else {
        (product >> ty.bits()) as u128 & mask
    }
}

fn low(ty: Type, a: u64, b: u64) -> u128 {
    u128::from(a.wrapping_mul(b) & low_bits(ty.bits()))
}

#[test]
fn each_with_and_without_carry_in_and_out() {
    let roots: [(&str, usize, Addends); 4] = [
        ("add", 2, |_, [a, b, _]| [u128::from(*a), u128::from(*b)]),
        ("sub", 2, |ty, [a, b, _]| [u128::from(*a), u128::from(low_bits(ty.bits()) - b)]),
        ("mad.lo", 3, |ty, [a, b, c]| [low(ty, *a, *b), u128::from(*c)]),
        ("mad.hi", 3, |ty, [a, b, c]| [high(ty, *a, *b), u128::from(*c)]),
    ];
    let mut random = Random(99);
    for (root, count, addends) in roots {
        for (carry_in, carry_out) in [(false, true), (true, false), (true, true)] {
            for name in ["u32", "s32", "u64", "s64"] {
                let ty = Type::parse(name).expect("a type");
                let opcode = if carry_in {
                    let (first, rest) = root.split_at(3);
                    format!("{first}c{rest}")
                } else {
                    root.into()
                };
                let suffix = if carry_out { ".cc" } else { "" };
                let names: Vec<String> = (1..=count + 1).map(|at| register(ty, at)).collect();
                let text = format!("{opcode}{suffix}.{name} {}", names.join(", "));
                let mut case = Case::new(decode_integer, &text).expect("an instruction");
                let edges = edges(ty);
                for round in 0..4000 {
                    let sources: [_; 3] = std::array::from_fn(|_| values(&mut random, ty, &edges));
                    for (name, row) in names[1..].iter().zip(&sources) {
                        case.set(name, row);
                    }
                    let old = values(&mut random, ty, &edges);
                    case.set(&names[0], &old);
                    let flag = random.next() as u32;
                    case.set_carry(flag);
                    let mask = if round % 4 == 0 { random.next() as u32 } else { u32::MAX };
                    case.run(mask);
                    let (result, carry) = (case.get(&names[0]), case.carry());
                    for lane in 0..LANES {
                        let is_set = |bits: u32| bits >> lane & 1 != 0;
                        let sources = [sources[0][lane], sources[1][lane], sources[2][lane]];
                        // Without a flag to add, a difference adds one to the complement.
                        let one = if carry_in { is_set(flag) } else { root == "sub" };
                        let sum = addends(ty, &sources).iter().sum::<u128>() + u128::from(one);
                        let active = is_set(mask);
                        let expected = if active { sum as u64 & low_bits(ty.bits()) } else { old[lane] };
                        assert_eq!(result[lane], expected, "{text}: {sources:x?}, flag {}", is_set(flag));
                        let expected = if active && carry_out { sum >> ty.bits() != 0 } else { is_set(flag) };
                        assert_eq!(is_set(carry), expected, "{text}: carry of {sources:x?}");
                    }
                }
            }
        }
    }
}

/// Runs instructions one after another on registers that they share.
fn run_chain(chain: &[&str], inputs: &[(&str, [u64; LANES])], output: &[&str]) -> Vec<[u64; LANES]> {
    let mut registers: Vec<(String, [u64; LANES])> =
        inputs.iter().map(|(name, values)| ((*name).to_owned(), *values)).collect();
    let mut flag = 0;
    for text in chain {
        let mut case = Case::new(decode_integer, text).expect("an instruction");
        for (name, values) in &registers {
            if case.names().contains(&Some(name.clone())) {
                case.set(name, values);
            }
        }
        case.set_carry(flag);
        case.run(u32::MAX);
        flag = case.carry();
        let destination = case.names()[0].clone().expect("a destination");
        let result = case.get(&destination);
        registers.retain(|(name, _)| *name != destination);
        registers.push((destination, result));
    }
    let value = |wanted: &&str| registers.iter().find(|(name, _)| name == wanted).expect("a result").1;
    output.iter().map(value).collect()
}

#[test]
fn numbers_of_128_bits() {
    let mut random = Random(5);
    let sources = edges(Type::U64);
    for _ in 0..1000 {
        let [a0, a1, b0, b1]: [_; 4] = std::array::from_fn(|_| values(&mut random, Type::U64, &sources));
        let inputs = [("%rd1", a0), ("%rd2", a1), ("%rd3", b0), ("%rd4", b1)];
        let sum = run_chain(
            &["add.cc.u64 %rd5, %rd1, %rd3", "addc.cc.s64 %rd6, %rd2, %rd4", "addc.u64 %rd7, 0, 0"],
            &inputs,
            &["%rd5", "%rd6", "%rd7"],
        );
        let difference = run_chain(
            &["sub.cc.s64 %rd5, %rd1, %rd3", "subc.cc.u64 %rd6, %rd2, %rd4", "subc.u64 %rd7, 0, 0"],
            &inputs,
            &["%rd5", "%rd6", "%rd7"],
        );
        for lane in 0..LANES {
            let a = u128::from(a1[lane]) << 64 | u128::from(a0[lane]);
            let b = u128::from(b1[lane]) << 64 | u128::from(b0[lane]);
            let (expected, carry) = a.overflowing_add(b);
            assert_eq!(u128::from(sum[1][lane]) << 64 | u128::from(sum[0][lane]), expected);
            assert_eq!(sum[2][lane], u64::from(carry));
            let (expected, borrow) = a.overflowing_sub(b);
            assert_eq!(u128::from(difference[1][lane]) << 64 | u128::from(difference[0][lane]), expected);
            // Nothing less nothing less the borrow.
            assert_eq!(difference[2][lane], if borrow { u64::MAX } else { 0 });
        }
    }
}

/// The product of two 64-bit numbers of 32-bit words, as in the manual's example.
#[test]
fn product_of_64_bits() {
    let mut random = Random(6);
    let edges = edges(Type::U32);
    for _ in 0..1000 {
        let [a0, a1, b0, b1]: [_; 4] = std::array::from_fn(|_| values(&mut random, Type::U32, &edges));
        let product = run_chain(
            &[
                "mul.lo.u32 %r10, %r4, %r6",
                "mul.hi.u32 %r11, %r4, %r6",
                "mad.lo.cc.u32 %r11, %r5, %r6, %r11",
                "madc.hi.u32 %r12, %r5, %r6, 0",
                "mad.lo.cc.u32 %r11, %r4, %r7, %r11",
                "madc.hi.cc.u32 %r12, %r4, %r7, %r12",
                "addc.u32 %r13, 0, 0",
                "mad.lo.cc.u32 %r12, %r5, %r7, %r12",
                "madc.hi.u32 %r13, %r5, %r7, %r13",
            ],
            &[("%r4", a0), ("%r5", a1), ("%r6", b0), ("%r7", b1)],
            &["%r10", "%r11", "%r12", "%r13"],
        );
        for lane in 0..LANES {
            let expected = u128::from(a1[lane] << 32 | a0[lane]) * u128::from(b1[lane] << 32 | b0[lane]);
            let result = product.iter().rev().fold(0, |value, word| value << 32 | u128::from(word[lane]));
            assert_eq!(result, expected);
        }
    }
}

/// ptxas turns `sub.cc` and `addc` into an addition of the complement and an addition of its carry, which is set
/// where nothing was borrowed.
#[test]
fn carry_of_a_difference_says_that_nothing_was_borrowed() {
    let mixed = run_chain(
        &["sub.cc.u32 %r3, %r1, %r2", "addc.u32 %r4, 0, 0"],
        &[("%r1", std::array::from_fn(|lane| lane as u64)), ("%r2", [16; LANES])],
        &["%r4"],
    );
    assert_eq!(mixed[0], std::array::from_fn(|lane| u64::from(lane >= 16)));
}

#[test]
fn what_does_not_exist_is_refused() {
    for (text, reason) in [
        ("add.cc.u16 %rs1, %rs2, %rs3", "U16"),
        ("addc.b32 %r1, %r2, %r3", "B32"),
        ("sub.cc.sat.s32 %r1, %r2, %r3", ".sat"),
        ("add.cc.f32 %f1, %f2, %f3", "F32"),
        ("mad.wide.cc.u32 %rd1, %r2, %r3, %rd4", ".lo"),
        ("madc.u32 %r1, %r2, %r3, %r4", ".hi"),
        ("madc.hi.sat.s32 %r1, %r2, %r3, %r4", ".sat"),
        ("subc.lo.u32 %r1, %r2, %r3", ".lo"),
        ("addc.u32 %r1, %r2", "3 operands"),
    ] {
        let refused = refusal(decode_integer, text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}
