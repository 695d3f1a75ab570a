//! Runs the probes of a file again and compares with the answers in it.

use ptx_sim::{
    ComputeCapability, Device, DeviceProperties, LaunchConfig, TensorFill, TensorMap, TensorSwizzle,
    TensorType,
};
use serde_json::Value;

use super::inputs::{self, fnv1a64};
use super::{base64, bounds};

/// A line of a file: see tests/golden/README.md.
pub struct Probe {
    pub name: String,
    pub device: ComputeCapability,
    pub ptx: String,
    pub kernel: String,
    pub n: u32,
    pub block: u32,
    pub in_words: usize,
    pub out_words: usize,
    pub inputs: Vec<u32>,
    /// A tensor map but for its address, and whether it is of what is written.
    pub tensor_map: Option<(TensorMap, bool)>,
    pub output: Option<Vec<u32>>,
}

impl Probe {
    pub fn read(line: &Value) -> Result<Self, String> {
        let text = |key: &str| line[key].as_str().ok_or(format!("no text `{key}`"));
        let number = |key: &str| line[key].as_u64().ok_or(format!("no number `{key}`"));
        let words = |key: &str| base64::decode(text(key)?).ok_or(format!("`{key}` is not base64 of words"));
        let n = u32::try_from(number("n")?).map_err(|_| "n is too large")?;
        let (in_words, out_words) = (number("in_words")? as usize, number("out_words")? as usize);
        let inputs = match line["kinds"].as_str() {
            Some(kinds) => {
                inputs::inputs(kinds, number("seed")?, n as usize).ok_or("unknown kinds of inputs")?
            }
            None => words("input")?,
        };
        if inputs.len() != n as usize * in_words {
            return Err(format!("{} words of inputs for {n} threads", inputs.len()));
        }
        let hash = format!("{:016x}", fnv1a64(inputs.iter().flat_map(|word| word.to_le_bytes())));
        if hash != text("inputs_fnv1a64")? {
            return Err("the inputs are others than those of the file".into());
        }
        let device = match text("compute_capability")? {
            "8.0" => ComputeCapability::Sm80,
            "8.6" => ComputeCapability::Sm86,
            "8.9" => ComputeCapability::Sm89,
            "9.0" => ComputeCapability::Sm90,
            other => return Err(format!("no simulated GPU has compute capability {other}")),
        };
        Ok(Self {
            name: text("probe")?.into(),
            device,
            ptx: text("ptx")?.into(),
            kernel: text("kernel")?.into(),
            n,
            block: number("block")? as u32,
            in_words,
            out_words,
            inputs,
            tensor_map: if line["tensor_map"].is_null() {
                None
            } else {
                Some(tensor_map(&line["tensor_map"])?)
            },
            output: if line["output"].is_null() { None } else { Some(words("output")?) },
        })
    }

    /// What the simulator answers.
    pub fn run(&self) -> Result<Vec<u32>, String> {
        self.try_run().map_err(|error| error.to_string())
    }

    fn try_run(&self) -> ptx_sim::Result<Vec<u32>> {
        let device = Device::new(DeviceProperties::of(self.device));
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let input = device.allocate(4 * self.inputs.len() as u64)?;
        device.write(input, &bytes(&self.inputs))?;
        let mut answer = bytes(&vec![0xDEAD_BEEF; self.n as usize * self.out_words]);
        let output = device.allocate(answer.len() as u64)?;
        device.write(output, &answer)?;
        let kernel = device.load_module(&self.ptx)?.kernel(&self.kernel)?;
        let stream = device.create_stream();
        let config = LaunchConfig::new([self.n / self.block, 1, 1], [self.block, 1, 1]);
        let mut parameters = [input.to_le_bytes(), output.to_le_bytes()].concat();
        if let Some((map, written)) = &self.tensor_map {
            let map = {
                let mut map = map.clone();
                map.address = if *written { output } else { input };
                map
            };
            // It is aligned to 64 bytes.
            parameters.resize(64, 0);
            parameters.extend(map.encode()?);
        }
        stream.launch(&kernel, &config, &parameters)?;
        stream.synchronize()?;
        device.read(output, &mut answer)?;
        let words = answer.chunks_exact(4);
        Ok(words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect())
    }

    /// Whether the simulator answers as the file says; else how many threads differ, and the first of them.
    pub fn compare(&self) -> Result<(), String> {
        let card = self.output.as_ref().ok_or("there is no answer")?;
        let simulator = self.run()?;
        if card.len() != simulator.len() {
            return Err(format!("{} words of answers, {} are expected", card.len(), simulator.len()));
        }
        let approximate = bounds::approximate(&self.name);
        let answers = card.chunks(self.out_words).zip(simulator.chunks(self.out_words));
        let differ: Vec<_> = self
            .inputs
            .chunks(self.in_words)
            .zip(answers)
            .enumerate()
            .filter(|(_, (inputs, (card, simulator)))| match approximate {
                Some(approximate) => !approximate.agrees(inputs, card, simulator),
                None => card != simulator,
            })
            .collect();
        match differ.first() {
            None => Ok(()),
            Some((thread, (inputs, (card, simulator)))) => Err(format!(
                "{} of {} threads differ; the first, {thread}: of {inputs:08x?} the file has {card:08x?}, the simulator {simulator:08x?}",
                differ.len(),
                self.n
            )),
        }
    }
}

/// A tensor map but for its address, and whether it is of what is written.
fn tensor_map(value: &Value) -> Result<(TensorMap, bool), String> {
    let numbers = |key: &str| {
        let list = value[key].as_array().ok_or(format!("tensor map: no list `{key}`"))?;
        let numbers: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
        numbers.ok_or(format!("tensor map: `{key}` is not of numbers"))
    };
    let small = |key: &str| {
        Ok::<_, String>(numbers(key)?.into_iter().map(|number| number as u32).collect::<Vec<_>>())
    };
    let named = |key: &str, names: &[&str]| {
        let name = value[key].as_str().unwrap_or_default();
        names.iter().position(|known| *known == name).ok_or(format!("tensor map: unknown `{key}` {name:?}"))
    };
    let element = value["type"].as_str().unwrap_or_default();
    let element =
        TensorType::ALL.iter().find(|ty| ty.name() == element).ok_or("tensor map: unknown `type`")?;
    let mut map = TensorMap::new(*element, 0, &numbers("dims")?, &numbers("strides")?, &small("box")?);
    map.element_strides = small("element_strides")?;
    map.swizzle =
        [TensorSwizzle::None, TensorSwizzle::Bytes32, TensorSwizzle::Bytes64, TensorSwizzle::Bytes128]
            [named("swizzle", &["none", "32B", "64B", "128B"])?];
    map.fill = [TensorFill::Zeros, TensorFill::Nan][named("oob_fill", &["zeros", "nan"])?];
    Ok((map, named("of", &["input", "output"])? == 1))
}

/// Replays all lines of a file's text: how many agree, and what does not, by name.
pub fn replay(text: &str) -> (usize, Vec<String>) {
    let (mut agree, mut wrong) = (0, Vec::new());
    for (number, line) in text.lines().enumerate() {
        let probe = serde_json::from_str(line)
            .map_err(|error| error.to_string())
            .and_then(|line: Value| Probe::read(&line));
        match probe.map(|probe| (probe.compare(), probe.name)) {
            Ok((Ok(()), _)) => agree += 1,
            Ok((Err(why), name)) => wrong.push(format!("line {}: {name}: {why}", number + 1)),
            Err(why) => wrong.push(format!("line {}: {why}", number + 1)),
        }
    }
    (agree, wrong)
}
