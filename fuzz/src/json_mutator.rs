//! Mutations of JSON that keep it JSON, so that a run spends its time behind the parser.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;

/// Texts that mean something to some reader.
const TEXTS: [&str; 40] = [
    "",
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "U8",
    "F8_E4M3",
    "BOOL",
    "__metadata__",
    "dtype",
    "shape",
    "data_offsets",
    "model.safetensors",
    "../x.safetensors",
    "/x.safetensors",
    "default",
    "linear",
    "dynamic",
    "yarn",
    "llama3",
    "rope_type",
    "factor",
    "rope_theta",
    "llama",
    "silu",
    "name",
    "template",
    "content",
    "{{ bos_token }}",
    "BPE",
    "ByteLevel",
    "Metaspace",
    "Replace",
    "Sequence",
    "Split",
    "ByteFallback",
    "\u{2581}",
    "\u{1b}[2J",
    "\u{FDD0}",
];
const NUMBERS: [i64; 16] =
    [0, 1, 2, 3, 4, 8, 16, 127, 128, 255, 4096, i32::MAX as i64, 1 << 32, 1 << 53, i64::MAX, -1];

/// A libFuzzer mutator: three times in four changes one value of the document, else bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed) << 1 | 1);
    let parsed =
        if random.below(4) == 0 { None } else { serde_json::from_slice::<Value>(&data[..size]).ok() };
    let Some(mut document) = parsed else { return fuzzer_mutate(data, size, max_size) };
    for _ in 0..=random.below(3) {
        let mut target = random.below(count(&document));
        let donor = nth(&document, &mut random.below(count(&document))).cloned();
        if let Some(value) = nth_mut(&mut document, &mut target) {
            change(value, donor.unwrap_or(Value::Null), &mut random);
        }
    }
    let text = document.to_string();
    if text.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..text.len()].copy_from_slice(text.as_bytes());
    text.len()
}

/// Changes one value: by its kind, into a value from elsewhere in the document, or into another kind.
fn change(value: &mut Value, donor: Value, random: &mut Random) {
    let text = TEXTS[random.below(TEXTS.len())];
    let number = NUMBERS[random.below(NUMBERS.len())];
    if random.below(4) == 0 {
        *value = [donor, Value::Null, text.into(), number.into(), true.into(), 0.5.into()]
            .into_iter()
            .nth(random.below(6))
            .unwrap_or_default();
        return;
    }
    match value {
        Value::Number(n) => {
            let old = n.as_i64().unwrap_or(1);
            let choices = [
                number,
                old.wrapping_add(1),
                old.wrapping_sub(1),
                old.wrapping_mul(2),
                old / 2,
                -old.max(-1),
            ];
            *value = choices[random.below(choices.len())].into();
        }
        Value::String(s) => match random.below(3) {
            0 => *s = text.into(),
            1 => s.push_str(text),
            _ => *s = s.chars().skip(1).collect(),
        },
        Value::Array(items) => match random.below(3) {
            0 => items.push(donor),
            1 if !items.is_empty() => drop(items.remove(random.below(items.len()))),
            _ => items.reverse(),
        },
        Value::Object(entries) => {
            let key = entries.keys().nth(random.below(entries.len().max(1))).cloned().unwrap_or_default();
            match random.below(3) {
                0 => drop(entries.insert(text.into(), donor)),
                1 => drop(entries.remove(&key)),
                _ => {
                    let moved = entries.remove(&key).unwrap_or_default();
                    entries.insert(format!("{key}{text}"), moved);
                }
            }
        }
        Value::Bool(b) => *b = !*b,
        Value::Null => *value = donor,
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        _ => 0,
    }
}

fn nth<'a>(value: &'a Value, n: &mut usize) -> Option<&'a Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(items) => items.iter().find_map(|item| nth(item, n)),
        Value::Object(entries) => entries.values().find_map(|item| nth(item, n)),
        _ => None,
    }
}

fn nth_mut<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth_mut(item, n)),
        Value::Object(entries) => entries.values_mut().find_map(|item| nth_mut(item, n)),
        _ => None,
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ x >> 31) % n as u64) as usize
    }
}
