//! `model.safetensors.index.json`.

use llama_kernels::model::checkpoint::Index;
use serde_json::json;

use super::Expected::Malformed;
use super::assert_error;
use super::config::broken_json;

const FILE: &str = "model.safetensors.index.json";

fn parse(json: &str) -> llama_kernels::Result<Index> {
    Index::parse(json.as_bytes(), FILE.as_ref())
}

#[test]
fn valid_indexes_are_read() {
    let map = json!({"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"});
    for metadata in [json!(null), json!({"total_size": 5}), json!({"total_size": 1e30, "x": [1]})] {
        let index = parse(&json!({"metadata": metadata, "weight_map": map}).to_string()).unwrap();
        let files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        assert_eq!(index.files(), files.into());
    }
    parse(&json!({"weight_map": map}).to_string()).unwrap();
}

#[test]
fn files_stay_inside_the_folder() {
    for name in [
        "../model.safetensors",
        "..",
        "/etc/model.safetensors",
        "a/b.safetensors",
        "a\\b.safetensors",
        "C:x.safetensors",
        "model.safetensors/",
        "./model.safetensors",
        ".hidden.safetensors",
        "",
        "model.bin",
        "pytorch_model.bin",
        "model.safetensors\0",
        "\0.safetensors",
        "model.safetensors\n",
        "~/x.safetensors",
    ] {
        let json = json!({"weight_map": {"ok": "model.safetensors", "t": name}}).to_string();
        let says = "expected the name of a .safetensors file in this folder";
        assert_error(&format!("{name:?}"), parse(&json), Malformed(FILE, "tensor `t`", says));
    }
}

#[test]
fn wrong_indexes_are_refused() {
    for (case, bytes, says) in broken_json() {
        let says = if ["nested", "brackets without end", "empty"].contains(&case) { says } else { "" };
        assert_error(case, Index::parse(&bytes, FILE.as_ref()), Malformed(FILE, "JSON", says));
    }
    for (json, says) in [
        ("{}", "missing field `weight_map`"),
        (r#"{"weight_map": []}"#, "expected an object"),
        (r#"{"weight_map": {"a": 1}}"#, "invalid type: integer `1`"),
        (r#"{"weight_map": {"a": ["x.safetensors"]}}"#, "invalid type: sequence"),
        (r#"{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}"#, "duplicate key `a`"),
        (r#"{"weight_map": {}, "weight_map": {}}"#, "duplicate field `weight_map`"),
        (r#"{"weight_map": {"a": "x.safetensors"}, "tensors": {}}"#, "unknown field `tensors`"),
    ] {
        assert_error(json, parse(json), Malformed(FILE, "JSON", says));
    }
    assert_error("empty", parse(r#"{"weight_map": {}}"#), Malformed(FILE, "weight_map", "empty"));
}
