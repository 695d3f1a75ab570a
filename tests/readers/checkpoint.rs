//! Folders whose files contradict each other, or the operating system.

use llama_kernels::Result;
use llama_kernels::model::checkpoint::Checkpoint;
use serde_json::{Value, json};

use super::Expected::{self, Io, Malformed, Unsupported};
use super::assert_error;
use super::folder::{Folder, Tensor, config, header, lay_out, safetensors, tensors, with_header};

const FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

/// Opens by reading and by mapping; both must agree.
fn open(folder: &Folder) -> Result<Checkpoint> {
    let read = Checkpoint::open(folder.path());
    // SAFETY: the folder belongs to the test, which changes no file while it is mapped.
    let mapped = unsafe { Checkpoint::open_mmap(folder.path()) };
    let message = |result: &Result<Checkpoint>| result.as_ref().err().map(ToString::to_string);
    assert_eq!(message(&read), message(&mapped));
    read
}

fn folder(config: &Value, tensors: &[Tensor]) -> Folder {
    let folder = Folder::new();
    folder.write("config.json", config.to_string());
    folder.write(FILE, safetensors(tensors));
    folder
}

#[test]
fn wrong_tensors_are_named() {
    type Change = fn(&mut Value, &mut Vec<Tensor>);
    let position = |tensors: &[Tensor], name: &str| tensors.iter().position(|t| t.name == name).unwrap();
    let malformed = |part, says| Malformed(FILE, part, says);
    let cases: [(&str, Change, Expected); 15] = [
        (
            "missing",
            |_, t| t.retain(|t| t.name != "model.layers.1.mlp.up_proj.weight"),
            malformed("tensor `model.layers.1.mlp.up_proj.weight`", "missing; config.json asks for 2 layers"),
        ),
        (
            "more layers in the configuration",
            |c, _| c["num_hidden_layers"] = 3.into(),
            malformed(
                "tensor `model.layers.2.input_layernorm.weight`",
                "missing; config.json asks for 3 layers",
            ),
        ),
        (
            "fewer layers in the configuration",
            |c, _| c["num_hidden_layers"] = 1.into(),
            malformed("tensor `model.layers.1.input_layernorm.weight`", "no part of a Llama of 1 layers"),
        ),
        (
            "another hidden size",
            |c, _| c["hidden_size"] = 16.into(),
            malformed("tensor `lm_head.weight`", "config.json asks for the shape [16, 16], got [16, 8]"),
        ),
        (
            "transposed",
            |_, t| {
                t.iter_mut()
                    .filter(|t| t.name.ends_with("0.mlp.down_proj.weight"))
                    .for_each(|t| t.shape.reverse());
            },
            malformed("tensor `model.layers.0.mlp.down_proj.weight`", "the shape [8, 12], got [12, 8]"),
        ),
        (
            "flat",
            |_, t| t[0].shape = vec![128],
            malformed("tensor `model.embed_tokens.weight`", "the shape [16, 8], got [128]"),
        ),
        (
            "no head",
            |_, t| t.retain(|t| t.name != "lm_head.weight"),
            malformed("tensor `lm_head.weight`", "config.json does not say tie_word_embeddings"),
        ),
        (
            "head of another shape beside a tied embedding",
            |c, t| {
                c["tie_word_embeddings"] = true.into();
                t[2].shape = vec![8, 16];
            },
            malformed("tensor `lm_head.weight`", "the shape [16, 8], got [8, 16]"),
        ),
        (
            "bias that the configuration denies",
            |_, t| t.push(Tensor::new("model.layers.0.self_attn.q_proj.bias", &[8])),
            malformed(
                "tensor `model.layers.0.self_attn.q_proj.bias`",
                "a bias, though config.json says attention_bias",
            ),
        ),
        (
            "no bias that the configuration asks for",
            |c, _| c["attention_bias"] = true.into(),
            malformed(
                "tensor `model.layers.0.self_attn.k_proj.bias`",
                "missing, though config.json asks for biases",
            ),
        ),
        (
            "unknown tensor",
            |_, t| t.push(Tensor::new("model.layers.0.mlp.router.weight", &[8])),
            malformed("tensor `model.layers.0.mlp.router.weight`", "no part of a Llama of 2 layers"),
        ),
        (
            "quantised without saying so",
            |_, t| t.push(Tensor::new("model.layers.0.mlp.up_proj.qweight", &[8])),
            malformed("tensor `model.layers.0.mlp.up_proj.qweight`", "belongs to a quantised checkpoint"),
        ),
        (
            "weights of whole numbers",
            |_, t| t[0].dtype = "I32".into(),
            Unsupported(FILE, "tensor `model.embed_tokens.weight`: weights of element type i32"),
        ),
        (
            "fp8 weights",
            |_, t| t.iter_mut().for_each(|t| t.dtype = "F8_E4M3".into()),
            Unsupported(FILE, "weights of element type f8_e4m3"),
        ),
        (
            "two types in one matrix product",
            |_, t| {
                t.iter_mut()
                    .filter(|t| t.name.ends_with("1.self_attn.v_proj.weight"))
                    .for_each(|t| t.dtype = "F16".into());
            },
            malformed(
                "tensor `model.layers.1.self_attn.v_proj.weight`",
                "f16, but `model.layers.1.self_attn.k_proj.weight` is bf16",
            ),
        ),
    ];
    assert_eq!(position(&tensors(), "lm_head.weight"), 2);
    for (case, change, expected) in cases {
        let (mut config, mut tensors) = (config(), tensors());
        change(&mut config, &mut tensors);
        lay_out(&mut tensors);
        assert_error(case, open(&folder(&config, &tensors)), expected);
    }
}

#[test]
fn harmless_tensors_are_tolerated() {
    let mut stored = tensors();
    for layer in 0..2 {
        let mut freq = Tensor::new(format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq"), &[2]);
        freq.dtype = "F32".into();
        stored.push(freq);
    }
    // Norms may be more exact than the rest.
    stored.iter_mut().filter(|t| t.name.contains("norm")).for_each(|t| t.dtype = "F32".into());
    lay_out(&mut stored);
    let checkpoint = open(&folder(&config(), &stored)).unwrap();
    let weights = stored.iter().filter(|t| !t.name.ends_with("inv_freq"));
    assert_eq!(checkpoint.weight_bytes(), weights.map(|t| t.offsets[1] - t.offsets[0]).sum::<u64>());

    // A head beside a tied embedding is stored, but no part of the model.
    let mut tied = config();
    tied["tie_word_embeddings"] = true.into();
    let checkpoint = open(&folder(&tied, &tensors())).unwrap();
    assert!(checkpoint.names().any(|name| name == "lm_head.weight"));
    assert_eq!(checkpoint.weight_bytes(), 2 * checkpoint.config().parameter_count());
}

#[test]
fn broken_files_are_named() {
    let json = header(&tensors());
    let whole = safetensors(&tensors());
    let length = |n: u64| [&n.to_le_bytes(), &whole[8..]].concat();
    let malformed = |part, says| Malformed(FILE, part, says);
    for (case, bytes, expected) in [
        ("empty", vec![], malformed("header", "a file of 0 bytes has no room for one")),
        ("seven bytes", vec![0; 7], malformed("header", "a file of 7 bytes")),
        ("no header", vec![0; 8], malformed("header", "does not begin with `{`")),
        (
            "header beyond the file",
            length(whole.len() as u64 - 7),
            malformed("header", "are left in the file"),
        ),
        (
            "header beyond the format",
            length(100_000_001),
            malformed("header", "more than the format's 100000000"),
        ),
        ("header of 2^64 bytes", length(u64::MAX), malformed("header", "more than the format's")),
        ("header shorter than it is", length(json.len() as u64 - 1), malformed("header", "EOF")),
        (
            "cut off",
            whole[..whole.len() - 1].to_vec(),
            malformed("tensor `model.layers.1.mlp.down_proj.weight`", "lie outside"),
        ),
        ("bytes behind", [&whole[..], b"x"].concat(), malformed("data", "but the tensors end at")),
        ("another format", b"GGUF\x03\0\0\0\0\0\0\0".to_vec(), malformed("header", "more than the format's")),
        ("no tensors", with_header("{}", 0), malformed("tensor `lm_head.weight`", "missing")),
    ] {
        let folder = folder(&config(), &tensors());
        folder.write(FILE, bytes);
        assert_error(case, open(&folder), expected);
    }
}

/// A folder of two shards that share out the model's tensors, and its index, changed by `change`.
fn sharded(change: impl FnOnce(&mut Value, &mut Vec<Tensor>, &mut Vec<Tensor>)) -> Folder {
    let mut first = tensors();
    let mut second = first.split_off(7);
    let entry = |file: &'static str| move |t: &Tensor| (t.name.clone(), Value::from(file));
    let map: serde_json::Map<_, _> =
        first.iter().map(entry(FIRST)).chain(second.iter().map(entry(SECOND))).collect();
    let mut index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    change(&mut index, &mut first, &mut second);
    lay_out(&mut first);
    lay_out(&mut second);
    let folder = Folder::new();
    folder.write("config.json", config().to_string());
    folder.write(INDEX, index.to_string());
    folder.write(FIRST, safetensors(&first));
    folder.write(SECOND, safetensors(&second));
    folder
}

#[test]
fn an_index_that_contradicts_its_shards_is_refused() {
    let checkpoint = open(&sharded(|_, _, _| {})).unwrap();
    assert_eq!(checkpoint.weight_bytes(), 2 * checkpoint.config().parameter_count());

    let embedding = "model.embed_tokens.weight";
    type Change = fn(&mut Value, &mut Vec<Tensor>, &mut Vec<Tensor>);
    let cases: [(&str, Change, Expected); 6] = [
        (
            "wrong shard",
            |i, _, _| i["weight_map"]["model.embed_tokens.weight"] = SECOND.into(),
            Malformed(
                INDEX,
                "tensor `model.embed_tokens.weight`",
                "said to be in model-00002-of-00002.safetensors, which does not hold it",
            ),
        ),
        (
            "in no shard",
            |i, _, _| i["weight_map"]["x"] = FIRST.into(),
            Malformed(INDEX, "tensor `x`", "which does not hold it"),
        ),
        (
            "not in the index",
            |i, _, _| drop(i["weight_map"].as_object_mut().unwrap().remove("model.embed_tokens.weight")),
            Malformed(
                INDEX,
                "tensor `model.embed_tokens.weight`",
                "in model-00001-of-00002.safetensors, but not in the index",
            ),
        ),
        (
            "in two shards",
            |_, a, b| b.push(a[0].clone()),
            Malformed(
                INDEX,
                "tensor `model.embed_tokens.weight`",
                "but is in model-00002-of-00002.safetensors too",
            ),
        ),
        (
            "in neither",
            |i, a, _| {
                i["weight_map"].as_object_mut().unwrap().remove("model.embed_tokens.weight");
                a.remove(0);
            },
            Malformed(INDEX, "tensor `model.embed_tokens.weight`", "missing"),
        ),
        (
            "shard that is not there",
            |i, _, _| i["weight_map"]["x"] = "model-00003-of-00002.safetensors".into(),
            Io("model-00003-of-00002.safetensors"),
        ),
    ];
    assert_eq!(tensors()[0].name, embedding);
    for (case, change, expected) in cases {
        assert_error(case, open(&sharded(change)), expected);
    }
}

#[test]
fn a_single_file_has_precedence_over_an_index() {
    let folder = sharded(|_, _, _| {});
    folder.write(INDEX, "broken");
    assert_error("index alone", open(&folder), Malformed(INDEX, "JSON", "expected value"));
    folder.write(FILE, safetensors(&tensors()));
    open(&folder).unwrap();
}

#[test]
fn folders_without_safetensors_are_explained() {
    let folder = Folder::new();
    folder.write("config.json", config().to_string());
    let path = folder.path().file_name().unwrap().to_str().unwrap().to_owned().leak();
    assert_error("no weights", open(&folder), Malformed(path, "weights", "neither model.safetensors nor"));
    folder.write("pytorch_model.bin", "");
    let error = open(&folder).unwrap_err().to_string();
    assert!(error.contains("pytorch_model.bin is not supported: pickled weights can run code"), "{error}");

    let folder = self::folder(&config(), &[Tensor::new("tok_embeddings.weight", &[0])]);
    let says = "these are the names of Meta's own format";
    assert_error("Meta's names", open(&folder), Malformed(FILE, "tensor `lm_head.weight`", says));
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
    let folder = folder(&config(), &tensors());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let (first, last) = ("model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight");
    assert_eq!(checkpoint.tensor(last).unwrap().data.len(), 2 * 8 * 12);
    let file = std::fs::File::options().write(true).open(folder.path().join(FILE)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    checkpoint.tensor(first).unwrap();
    let part = "tensor `model.layers.1.mlp.down_proj.weight`";
    assert_error("shrunk", checkpoint.tensor(last), Malformed(FILE, part, "has become shorter"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_pipes_are_not() {
    // Hugging Face's cache: every file a link to a blob elsewhere.
    let (blobs, snapshot) = (folder(&config(), &tensors()), Folder::new());
    for name in ["config.json", FILE] {
        std::os::unix::fs::symlink(blobs.path().join(name), snapshot.path().join(name)).unwrap();
    }
    open(&snapshot).unwrap();
    // Something that is not a file would be waited for, or read without end.
    for name in ["config.json", FILE] {
        let folder = Folder::new();
        folder.write("config.json", config().to_string());
        let _ = std::fs::remove_file(folder.path().join(name));
        std::os::unix::fs::symlink("/dev/zero", folder.path().join(name)).unwrap();
        let expected = if name == FILE {
            Malformed(FILE, "file", "not a regular file")
        } else {
            Malformed("config.json", "file", "not a regular file")
        };
        assert_error(name, open(&folder), expected);
    }
}
