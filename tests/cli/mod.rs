//! The program as a user meets it: output, errors, exit codes, files. Here what it does with models.

#[cfg(feature = "kernels")]
mod kernels;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::TempDir;
#[cfg(feature = "sim")]
use crate::common::golden::with_heads_of_32;

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama-kernels"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    // `--device auto` is the CPU in these tests, on machines with a GPU as well.
    command.env("CUDA_VISIBLE_DEVICES", "");
    command
}

fn run(args: &[&str]) -> Output {
    program(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The program fails with exit code 1 and one line that holds `parts`.
fn fails(args: &[&str], parts: &[&str]) {
    let output = run(args);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{args:?}: {message}");
    assert!(message.starts_with("error: "), "{args:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?}: {message:?} does not name {part:?}");
    }
}

const DEMO: [&str; 5] = ["generate", "--model", "assets/demo-model", "--temperature", "0"];

fn generate(more: &[&str]) -> Output {
    run(&[&DEMO, more].concat())
}

#[test]
fn generate_streams_text_and_reports_speed() {
    let output = generate(&["--prompt", "Once there was", "--max-tokens", "24"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).trim().len() > 20, "{}", stdout(&output));
    let report = stderr(&output);
    assert!(report.contains("tokens/s; generated: 24 tokens, "), "{report}");
    assert!(report.contains("CPU"), "{report}");
}

#[test]
fn json_is_one_object() {
    let text = stdout(&generate(&["--prompt", "Once there was", "--max-tokens", "24"]));
    let output = generate(&["--prompt", "Once there was", "--max-tokens", "24", "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["text"].as_str().unwrap(), text.strip_suffix('\n').unwrap());
    assert_eq!(object["tokens"].as_array().unwrap().len(), 24);
    assert_eq!(object["finish_reason"], "length");
    assert!(object["decode_tokens_per_second"].as_f64().unwrap() > 0.0);
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
}

#[test]
fn mapped_or_read_the_text_is_the_same() {
    let prompt = ["--prompt", "Once there was", "--max-tokens", "16"];
    assert_eq!(stdout(&generate(&prompt)), stdout(&generate(&[&prompt[..], &["--no-mmap"]].concat())));
}

#[test]
fn a_seed_repeats_and_is_shown() {
    let options = ["--prompt", "Once", "--max-tokens", "24", "--temperature", "1"];
    let args = [&DEMO[..3], &options].concat();
    let first = run(&args);
    let report = stderr(&first);
    let seed = report.split("seed ").nth(1).unwrap().split(';').next().unwrap().to_string();
    assert_eq!(stdout(&run(&[&args[..], &["--seed", &seed]].concat())), stdout(&first));
}

#[test]
fn chat_answers_a_prompt_and_a_conversation() {
    let single = generate(&["--chat", "--prompt", "Who are you?", "--max-tokens", "32"]);
    assert!(single.status.success(), "{}", stderr(&single));
    let mut child = program(&[&DEMO[..], &["--chat", "--max-tokens", "32"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Who are you?\n\nWho are you?\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with(&stdout(&single)), "{text:?} does not begin with the single answer");
    assert_eq!(stderr(&output).matches("generated:").count(), 2, "one report an answer");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [
        &["generate"][..],
        &["generate", "--model", "assets/demo-model"],
        &["generate", "--model", "assets/demo-model", "--prompt", "x", "--device", "tpu"],
        &["generate", "--model", "assets/demo-model", "--prompt", "x", "--system", "y"],
        &["logits", "--model", "assets/demo-model", "--tokens", "1,x", "--out", "y"],
        &["nonsense"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty());
    }
}

#[test]
fn errors_name_the_option_or_the_file() {
    fails(&["generate", "--model", "no/such/folder", "--prompt", "x"], &["no/such/folder", "config.json"]);
    let prompt = [&DEMO[..3], &["--prompt", "x"]].concat();
    for (option, value) in
        [("--temperature", "-1"), ("--top-p", "1.5"), ("--min-p", "2"), ("--repetition-penalty", "0")]
    {
        let name = option.trim_start_matches('-').replace('-', "_");
        fails(&[&prompt[..], &[&format!("{option}={value}")]].concat(), &[&name, value]);
    }
    fails(
        &[&prompt[..], &["--device", "cuda:4096"]].concat(),
        &["--device cuda:4096", "--device cpu runs on every machine"],
    );
    fails(
        &["generate", "--model", "tests/golden/f16", "--prompt", "x"],
        &["tests/golden/f16/tokenizer.json"],
    );
}

#[test]
fn weights_and_cache_are_held_as_asked() {
    let out = TempDir::new();
    let file = out.path().join("logits.safetensors");
    let of = |more: &[&str]| {
        let arguments =
            ["logits", "--model", "assets/demo-model", "--tokens", "1,2,3,4", "--device", "cpu", "--out"];
        let output = run(&[&arguments[..], &[file.to_str().unwrap()], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        std::fs::read(&file).unwrap()
    };
    let all = [
        of(&[]),
        of(&["--weights", "int4"]),
        of(&["--weights", "fp8"]),
        of(&["--kv-cache", "fp8"]),
        of(&["--weights", "fp8", "--kv-cache", "fp8"]),
    ];
    assert!(all[0] == of(&["--weights", "native", "--kv-cache", "native"]));
    for (i, a) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|b| a != b && a.len() == b.len()), "mode {i} is another");
    }
    let text = generate(&["--prompt", "Once", "--weights", "int4", "--kv-cache", "fp8", "--max-tokens", "8"]);
    assert!(text.status.success() && !stdout(&text).is_empty(), "{}", stderr(&text));
    let wrong =
        ["logits", "--model", "tests/golden/odd-vocab", "--tokens", "1", "--weights", "int4", "--out"];
    fails(
        &[&wrong[..], &[file.to_str().unwrap()]].concat(),
        &["model.layers.0.self_attn.q_proj.weight", "a multiple of 128"],
    );
}

#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn the_simulated_gpu_holds_its_cache_as_asked() {
    let out = TempDir::new();
    let file = out.path().join("logits.safetensors");
    let of = |cache| {
        let arguments = ["logits", "--model", "assets/demo-model", "--tokens", "1,2,3,4", "--device", "sim"];
        let output = run(&[&arguments[..], &["--kv-cache", cache, "--out", file.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        std::fs::read(&file).unwrap()
    };
    let (native, fp8) = (of("native"), of("fp8"));
    assert!(native != fp8 && native.len() == fp8.len());
}

#[cfg(feature = "sim")]
#[test]
fn formats_are_of_whole_passes() {
    fails(&["bench", "matmul", "--weights", "int4"], &["--weights, --kv-cache: of decode and prefill"]);
}

/// The CPU's tokens, from the same codes and scales.
#[test]
#[cfg_attr(
    not(all(kernels_built, feature = "sim")),
    ignore = "there is no simulated GPU, or no kernels for it"
)]
fn quantised_models_run_on_the_kernels() {
    let model = ["--model", "assets/demo-model", "--device", "sim", "--prompt", "Once there"];
    for weights in ["int4", "fp8"] {
        let more = ["--max-tokens", "3", "--weights", weights];
        let output = run(&[&["compare"], &model[..], &more].concat());
        let text = stdout(&output);
        assert!(output.status.success(), "weights {weights}: {text}{}", stderr(&output));
        assert!(text.contains("3 of 3 tokens are equal"), "weights {weights}: {text}");
    }
    let out = TempDir::new();
    let wrong = [
        "logits",
        "--model",
        "tests/golden/odd-vocab",
        "--device",
        "sim",
        "--tokens",
        "1",
        "--weights",
        "int4",
    ];
    fails(
        &[&wrong[..], &["--out", out.path().join("logits.safetensors").to_str().unwrap()]].concat(),
        &["model.layers.0.self_attn.q_proj.weight", "a multiple of 128"],
    );
}

#[test]
fn a_prompt_beyond_the_context_is_refused() {
    let prompt = "word ".repeat(3000);
    fails(
        &[&DEMO[..], &["--prompt", &prompt]].concat(),
        &["tokens do not fit the model's context of 2048 tokens"],
    );
    let tokens = vec!["1"; 2049].join(",");
    let out = TempDir::new();
    let file = out.path().join("logits.safetensors");
    fails(
        &["logits", "--model", "assets/demo-model", "--tokens", &tokens, "--out", file.to_str().unwrap()],
        &["--tokens", "2049", "2048"],
    );
    assert_eq!(out.files(), Vec::<String>::new());
}

fn logits(model: &str, tokens: &str, out: &Path) -> Output {
    run(&["logits", "--model", model, "--tokens", tokens, "--out", out.to_str().unwrap()])
}

#[test]
fn logits_writes_one_tensor_and_nothing_else() {
    let folder = TempDir::new();
    let file = folder.path().join("logits.safetensors");
    std::fs::write(&file, "an older file").unwrap();
    // This folder holds no tokenizer.
    let output = logits("tests/golden/odd-vocab", "1,2,112", &file);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(folder.files(), ["logits.safetensors"]);
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.names(), ["logits"]);
    let tensor = tensors.tensor("logits").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (safetensors::Dtype::F32, &[3, 113][..]));
    let values: Vec<f32> = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert!(values.iter().all(|v| v.is_finite()) && values.iter().any(|v| *v != 0.0));
}

#[test]
fn logits_leaves_nothing_behind_when_it_fails() {
    let folder = TempDir::new();
    let file = folder.path().join("logits.safetensors");
    for (tokens, part) in [("113", "--tokens: expected ids below 113, got 113"), ("1,99999", "99999")] {
        let output = logits("tests/golden/odd-vocab", tokens, &file);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let output = logits("tests/golden/odd-vocab", "1", folder.path());
    assert!(stderr(&output).contains("expected a file, got a folder"), "{}", stderr(&output));
    let output = logits("tests/golden/odd-vocab", "1", &folder.path().join("no/such/file"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--out"), "{}", stderr(&output));
    assert_eq!(folder.files(), Vec::<String>::new());
}

#[test]
fn info_shows_what_a_model_is_and_needs() {
    let output = run(&["info", "--model", "assets/demo-model"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for part in [
        "parameters",
        "KV cache",
        "per 1K tokens",
        "llama3",
        "plans         in bf16 on",
        "one token after 1023 others",
        "attention_decode: attention_decode_bf16_hd64_",
        "a prompt of 1024 tokens",
        "attention_prefill: attention_prefill_bf16_hd64 grid",
        "lm_head         matmul: ",
    ] {
        assert!(text.contains(part), "{text} does not show {part:?}");
    }
    for (weights, parts) in [
        ("int4", ["those of the layers in int4, the others in bf16", "q, k, v         matmul_int4: matmul_"]),
        (
            "fp8",
            ["those of the layers in fp8, the others in bf16", "quantise        quantize_fp8: quantize_"],
        ),
    ] {
        let text = stdout(&run(&["info", "--model", "assets/demo-model", "--weights", weights]));
        for part in parts {
            assert!(text.contains(part), "{text} does not show {part:?}");
        }
    }
    let text = stdout(&run(&["info", "--model", "assets/demo-model", "--kv-cache", "fp8"]));
    for part in ["per 1K tokens in f8_e4m3", "attention_decode_fp8kv_bf16", "attention_prefill_fp8kv_bf16"] {
        assert!(text.contains(part), "{text} does not show {part:?}");
    }
    let output = run(&["info"]);
    assert!(output.status.success(), "{}", stderr(&output));
    for part in ["cpu", "cuda", "sim", "kernels"] {
        assert!(stdout(&output).contains(part), "{} does not show {part:?}", stdout(&output));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = program(&[&DEMO[..], &["--prompt", "Once", "--max-tokens", "200"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains("panic"), "{}", stderr(&output));
}

/// The tokens of the CPU in f32, which bf16 does not change here; the device is named, and how much it launched.
#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn the_simulated_gpu_generates_what_the_cpu_generates() {
    let options = ["--prompt", "Once there was", "--max-tokens", "8"];
    let on = |device: &str, more: &[&str]| generate(&[&options[..], &["--device", device], more].concat());
    let (cpu, sim) = (on("cpu", &[]), on("sim:8.6", &[]));
    assert!(sim.status.success(), "{}", stderr(&sim));
    assert_eq!(stdout(&sim), stdout(&cpu));
    let report = stderr(&sim);
    let (_, launches) = report.trim_end().rsplit_once("; simulated GPU 8.6, ").unwrap();
    let launches: u64 = launches.strip_suffix(" kernel launches").unwrap().parse().unwrap();

    let object = |output: &Output| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    let (cpu, sim) = (object(&on("cpu", &["--json"])), object(&on("sim:8.6", &["--json"])));
    assert_eq!(sim["tokens"], cpu["tokens"]);
    assert_eq!((&sim["device"], &sim["kernel_launches"]), (&"simulated GPU 8.6".into(), &launches.into()));
    assert_eq!(cpu.get("kernel_launches"), None);
}

#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn logits_of_the_simulated_gpu_and_what_it_says_of_them() {
    let folder = TempDir::new();
    let file = folder.path().join("logits.safetensors");
    let args = ["logits", "--tokens", "1,2,3", "--device", "sim", "--out", file.to_str().unwrap(), "--model"];
    let output = run(&[&args[..], &["tests/golden/f32"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        stderr(&output).trim_end(),
        "note: the checkpoint is in f32; simulated GPU 8.0 computes in bf16"
    );
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("logits").unwrap().shape(), [3, 96]);

    let model = TempDir::new();
    with_heads_of_32(&model);
    fails(
        &[&args[..], &[model.path().to_str().unwrap()]].concat(),
        &["head_dim 32 on a GPU is not supported", "--device cpu"],
    );
    fails(
        &[&args[..], &["tests/golden/f16", "--activations", "native"]].concat(),
        &["--activations: for the CPU alone"],
    );
}

#[cfg(feature = "sim")]
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn devices_are_compared_and_plans_shown_once() {
    let args = ["compare", "--model", "assets/demo-model", "--device", "sim", "--prompt", "Once there was"];
    let output = program(&[&args[..], &["--max-tokens", "4"]].concat())
        .env("LLAMA_KERNELS_LOG", "plan")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for part in ["CPU", "simulated GPU 8.0", "agreement: ", " of 4 tokens", "none of which broke a rule"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let plans = stderr(&output);
    let distinct: std::collections::HashSet<&str> = plans.lines().collect();
    assert_eq!(distinct.len(), plans.lines().count(), "{plans}");
    for part in ["matmul: matmul_stream_bf16_m8 grid ", "attention_decode: ", ", tile ", "sample: ", " ("] {
        assert!(plans.contains(part), "{part}: {plans}");
    }
    fails(&[&args[..], &["--max-tokens", "100000"]].concat(), &["--max-tokens", "context of 2048"]);
}
