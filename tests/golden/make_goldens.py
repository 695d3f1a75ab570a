#!/usr/bin/env python3
"""Makes the golden fixtures in this folder: small random checkpoints and what Hugging Face transformers computes on them.

    pip install -r tests/golden/requirements.txt
    python tests/golden/make_goldens.py                 # everything
    python tests/golden/make_goldens.py checkpoints     # only the random checkpoints; also: demo, tokenizers

Every checkpoint is stored in its own dtype; `logits_f64` is the model with exactly those stored weights evaluated in
float64, `logits_native` is transformers' own answer in the stored dtype (eager attention, on the CPU).

transformers computes RMSNorm and the softmax of eager attention in float32 even in a float64 model; both are replaced
here, so that `logits_f64` is float64 throughout, with one exception that is part of Llama's definition: the inverse
frequencies, the angles and their cos and sin are float32, as transformers computes them, and widened afterwards.

See README.md for what each folder holds.
"""

import json
import math
import random
import re
import sys
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parent.parent / "assets"
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
NAMES = {"f16": "float16", "bf16": "bfloat16", "f32": "float32"}

# Defaults of a checkpoint; each kind states what differs. `rope` is copied into config.json as it stands, because the
# style of its keys is part of what is tested.
SMALL = dict(dtype="bf16", hidden=64, layers=2, heads=2, kv_heads=1, head_dim=64, ffn=64, vocab=96, eps=1e-5, max_pos=128, tied=False,
             bias=False, tokens=44, shards=1, omit=(), dtype_key="torch_dtype", rope={"rope_theta": 10000.0, "rope_scaling": None})
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
KINDS = {
    # Llama 1/2: as many kv heads as heads. All keys that have a default are missing from config.json: no rope key, no
    # num_key_value_heads, no head_dim, no rms_norm_eps (1e-6), no tie_word_embeddings.
    "llama2-mha": dict(dtype="f16", hidden=128, heads=2, kv_heads=2, eps=1e-6, omit=("num_key_value_heads", "head_dim", "rms_norm_eps", "tie_word_embeddings",
                       "attention_bias", "mlp_bias"), rope={}),
    "llama3-gqa": dict(heads=4, kv_heads=1, rope={"rope_theta": 500000.0, "rope_scaling": None}),
    "llama31-rope": dict(head_dim=128, tokens=56, max_pos=256, rope={"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, **LLAMA3}}),
    "llama32-tied": dict(hidden=96, heads=3, kv_heads=1, tied=True, tokens=56, max_pos=1024, dtype_key="dtype",
                         rope={"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, **LLAMA3}}),
    "linear-rope": dict(tokens=48, rope={"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}),
    "yarn-rope": dict(tokens=48, rope={"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}}),
    "dynamic-rope": dict(tokens=48, max_pos=32, rope={"rope_theta": 10000.0, "rope_scaling": {"type": "dynamic", "factor": 4.0}}),
    "f16": dict(dtype="f16"),
    "f32": dict(dtype="f32", dtype_key="dtype", rope={"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
    "bias": dict(bias=True),
    "sharded": dict(shards=3),
    "odd-vocab": dict(hidden=80, heads=2, ffn=72, vocab=113, rope={"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}),
}


# ---- float64 ---------------------------------------------------------------------------------------------------------

def rms_norm_f64(self, x):
    assert x.dtype == torch.float64
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def attention_f64(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    assert query.dtype == torch.float64
    key = modeling_llama.repeat_kv(key, module.num_key_value_groups)
    value = modeling_llama.repeat_kv(value, module.num_key_value_groups)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    n = query.shape[2]
    scores = scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf)
    out = torch.matmul(torch.softmax(scores, -1), value)
    return out.transpose(1, 2).contiguous(), None


class Float64:
    """Inside this block LlamaForCausalLM in float64 is float64 throughout (RoPE's tables excepted, see above)."""

    def __enter__(self):
        self.saved = modeling_llama.LlamaRMSNorm.forward, modeling_llama.eager_attention_forward
        modeling_llama.LlamaRMSNorm.forward, modeling_llama.eager_attention_forward = rms_norm_f64, attention_f64

    def __exit__(self, *_):
        modeling_llama.LlamaRMSNorm.forward, modeling_llama.eager_attention_forward = self.saved


@torch.no_grad()
def logits_of(folder, dtype, ids, edit=None):
    """Logits [n, vocab] of one prompt, and the model's inverse frequencies after it. `edit` may change the config first."""
    config = LlamaConfig.from_pretrained(folder)
    if edit:
        edit(config)
    model = LlamaForCausalLM.from_pretrained(folder, config=config, dtype=dtype, attn_implementation="eager").eval()
    assert all(p.dtype == dtype for p in model.parameters())
    ids = torch.tensor([ids])
    if dtype == torch.float64:
        with Float64():
            out = model(ids, use_cache=False).logits[0]
    else:
        out = model(ids, use_cache=False).logits[0]
    assert out.dtype == dtype
    rope = model.model.rotary_emb
    assert rope.inv_freq.dtype == torch.float32
    return out, rope.inv_freq.clone(), float(rope.attention_scaling)


# ---- checkpoints -----------------------------------------------------------------------------------------------------

def make_config(k):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": k["hidden"], "intermediate_size": k["ffn"],
        "num_hidden_layers": k["layers"], "num_attention_heads": k["heads"], "num_key_value_heads": k["kv_heads"], "head_dim": k["head_dim"],
        "vocab_size": k["vocab"], "max_position_embeddings": k["max_pos"], "rms_norm_eps": k["eps"], "tie_word_embeddings": k["tied"],
        "attention_bias": k["bias"], "mlp_bias": k["bias"], "bos_token_id": 1, "eos_token_id": 2, k["dtype_key"]: NAMES[k["dtype"]], **k["rope"]}
    return {key: v for key, v in config.items() if key not in k["omit"]}


def make_weights(k, g):
    """Random weights whose scores and logits spread over several units, rounded to the stored dtype."""
    d, hd, q, kv, f, v = k["hidden"], k["head_dim"], k["heads"] * k["head_dim"], k["kv_heads"] * k["head_dim"], k["ffn"], k["vocab"]

    def normal(std, *shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64) * std

    def norm():
        return 1.0 + normal(0.2, d)

    w = {"model.embed_tokens.weight": normal(3 / math.sqrt(d) if k["tied"] else 1.0, v, d), "model.norm.weight": norm()}
    for i in range(k["layers"]):
        p = f"model.layers.{i}."
        w[p + "input_layernorm.weight"] = norm()
        w[p + "post_attention_layernorm.weight"] = norm()
        qk = math.sqrt(2 / d)  # scores q.k / sqrt(hd) then have a standard deviation of about 2
        linear = {"self_attn.q_proj": (q, d, qk), "self_attn.k_proj": (kv, d, qk), "self_attn.v_proj": (kv, d, 1.5 / math.sqrt(d)),
                  "self_attn.o_proj": (d, q, 1.5 / math.sqrt(q)), "mlp.gate_proj": (f, d, 1.5 / math.sqrt(d)), "mlp.up_proj": (f, d, 1 / math.sqrt(d)),
                  "mlp.down_proj": (d, f, 1.5 / math.sqrt(f))}
        for name, (rows, cols, std) in linear.items():
            w[f"{p}{name}.weight"] = normal(std, rows, cols)
            if k["bias"]:
                w[f"{p}{name}.bias"] = normal(0.5, rows)
    if not k["tied"]:
        w["lm_head.weight"] = normal(3 / math.sqrt(d), v, d)
    return {name: t.to(DTYPES[k["dtype"]]).contiguous() for name, t in w.items()}


def save_weights(folder, weights, shards):
    meta = {"format": "pt"}
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata=meta)
        return
    # Dealt out one by one: layers are torn apart, as real shards tear them at their edges.
    names = sorted(weights)
    files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    where = {name: files[i % shards] for i, name in enumerate(names)}
    for file in files:
        save_file({n: weights[n] for n in names if where[n] == file}, folder / file, metadata=meta)
    total = sum(t.numel() * t.element_size() for t in weights.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})


def rope_by_formula(k):
    """Inverse frequencies and attention factor from the published formulas, in float64, as a check of transformers."""
    old = k["rope"].get("rope_parameters") or {"rope_theta": k["rope"].get("rope_theta", 10000.0), **(k["rope"].get("rope_scaling") or {})}
    kind, hd, factor = old.get("rope_type", old.get("type", "default")), k["head_dim"], old.get("factor")
    base = old["rope_theta"]
    if kind == "dynamic" and k["tokens"] > k["max_pos"]:
        base *= (factor * k["tokens"] / k["max_pos"] - (factor - 1)) ** (hd / (hd - 2))
    f = base ** (-numpy.arange(0, hd, 2) / hd)
    if kind == "linear":
        return f / factor, 1.0
    if kind == "llama3":
        w, lo, hi, n = 2 * math.pi / f, old["low_freq_factor"], old["high_freq_factor"], old["original_max_position_embeddings"]
        s = (n / w - lo) / (hi - lo)
        bands = [(w < n / hi).sum(), ((w >= n / hi) & (w <= n / lo)).sum(), (w > n / lo).sum()]
        assert min(bands) > 0, bands
        return numpy.where(w < n / hi, f, numpy.where(w > n / lo, f / factor, (1 - s) * f / factor + s * f)), 1.0
    if kind == "yarn":
        def dim(r):
            return hd * math.log(old["original_max_position_embeddings"] / (2 * math.pi * r)) / (2 * math.log(base))
        low, high = max(math.floor(dim(32)), 0), min(math.ceil(dim(1)), hd - 1)
        ramp = numpy.clip((numpy.arange(hd // 2) - low) / (high - low or 0.001), 0, 1)
        return f / factor * ramp + f * (1 - ramp), 0.1 * math.log(factor) + 1
    return f, 1.0


def unscaled(config):
    """For the check that a scaling changes the logits."""
    config.rope_parameters = {"rope_type": "default", "rope_theta": config.rope_parameters["rope_theta"]}


def make_checkpoint(name, seed):
    k = {**SMALL, **KINDS[name]}
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    g = torch.Generator().manual_seed(seed)
    write_json(folder / "config.json", make_config(k))
    save_weights(folder, make_weights(k, g), k["shards"])
    ids = torch.randint(0, k["vocab"], (k["tokens"],), generator=g).tolist()
    ids[0], ids[1], ids[2] = 1, 0, k["vocab"] - 1  # the first and the last row of the embedding are looked up too

    exact, inv_freq, factor = logits_of(folder, torch.float64, ids)
    native, native_freq, _ = logits_of(folder, DTYPES[k["dtype"]], ids)
    assert torch.equal(inv_freq, native_freq) and torch.isfinite(exact).all()
    want_freq, want_factor = rope_by_formula(k)
    assert numpy.allclose(inv_freq.numpy(), want_freq, rtol=2e-6), name
    assert abs(factor - want_factor) < 1e-9, name
    error = (native.double() - exact).abs().max().item()
    line = f"{name}: n {len(ids)}, logits std {exact.std():.2f}, max|native - f64| {error:.2e}"
    if "scaling" in json.dumps(k["rope"]) and k["rope"].get("rope_scaling") or k["rope"].get("rope_parameters", {}).get("factor"):
        plain, plain_freq, _ = logits_of(folder, torch.float64, ids, unscaled)
        change = (plain - exact).abs().max().item()
        assert change > 0.5 and change > 4 * error and not torch.equal(plain_freq, inv_freq), (name, change)
        line += f", scaling changes logits by up to {change:.2f}"
    print(line, flush=True)
    save_file({"tokens": torch.tensor(ids, dtype=torch.int64), "logits_f64": exact.contiguous(), "logits_native": native.float().contiguous(),
               "inv_freq": inv_freq.contiguous(), "rope_attention_factor": torch.tensor([factor], dtype=torch.float32)}, folder / "goldens.safetensors")


def check_published_frequencies():
    """transformers' llama3 frequencies against known values of the real models."""
    for hd, factor, want in [(128, 8.0, {29: 2.166570764e-3, 34: 1.785078128e-4, 63: 3.068925989e-7}), (128, 32.0, {29: 2.118406997e-3, 34: 9.708287803e-5})]:
        config = LlamaConfig(hidden_size=hd, num_attention_heads=1, rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": factor, "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, max_position_embeddings=131072)
        f = modeling_llama.LlamaRotaryEmbedding(config).inv_freq
        for i, value in want.items():
            assert abs(f[i].item() / value - 1) < 1e-6, (hd, factor, i, f[i].item())
    # head_dim 64, factor 32: 0-14 unchanged, 15-17 between, 18-31 divided.
    config = LlamaConfig(hidden_size=64, num_attention_heads=1, rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, max_position_embeddings=131072)
    rope = modeling_llama.LlamaRotaryEmbedding(config)
    ratio = rope.compute_default_rope_parameters(config)[0] / rope.inv_freq
    assert (ratio[:15] == 1).all() and ((ratio[15:18] > 1) & (ratio[15:18] < 32)).all() and (ratio[18:] == 32).all(), ratio


# ---- demo model ------------------------------------------------------------------------------------------------------

TEXTS = ["", " ", " faster school winter castle library", " faster", " library", "a", "Hello", "Hello world", " Hello", "  Hello", "Hello  world ", "Once upon a time there was a girl named Anna.", "The fox ran to the river, and the owl flew home.",
         "\n", "\n\n", "a\n\n\nb", "cat\r\ndog", "\t\ttabs\tand spaces   \n   mixed  \r\n", "    Hello\n    Hello", "   ", "3.14159 12345678", "333333333", "7 + 5 = 12",
         "I'M sure we'Re late, they'll say it's fine; don't.", "Hello, y'all! How are you 😁 ?", "Cửa Việt", "日本語テキスト", "Grüße, Ænima — “quoted” … naïve café", "e\u0301 combining, \u00e9 not", "👩‍👩‍👧‍👦 family",
         "مرحبا بالعالم", "\u00a0non-breaking\u00a0space\u3000wide", "x²+y³=½", "<|eot_id|>", "<|begin_of_text|>Hello<|end_of_text|>", "say <|eot_id|> please", "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
         "<|not_a_token|> <|eot_id", "!!!???...\n\nend", "snake_case and CamelCase", "zero\u0000byte", "\ufeffBOM", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }"]
CHATS = {
    "one turn": [("user", "What sound does a cow make?")],
    "system and two turns": [("system", "You are a helpful assistant."), ("user", "Hello, I am Anna."), ("assistant", "Hello, Anna! How can I help you?"), ("user", "  What is my name?\n")],
    "unicode": [("user", "Grüße 😁 an die 日本語")],
}


def encodings(tok, texts):
    """Per text: as transformers does it, without the added tokens, and with special tokens in the text taken as plain text."""
    out = []
    for text in texts:
        tok.encode_special_tokens = False
        entry = {"text": text, "ids": tok.encode(text).ids, "ids_without_specials": tok.encode(text, add_special_tokens=False).ids}
        tok.encode_special_tokens = True
        entry["ids_plain"] = tok.encode(text, add_special_tokens=False).ids
        tok.encode_special_tokens = False
        entry["decoded"] = tok.decode(entry["ids_plain"], skip_special_tokens=False)
        out.append(entry)
    return out


@torch.no_grad()
def greedy(model, ids, count, stop):
    """Greedy continuation and, per step, how far the best logit lies above the second."""
    ids, new, margins = list(ids), [], []
    for _ in range(count):
        best = model(torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
        new.append(best.indices[0].item())
        margins.append(round((best.values[0] - best.values[1]).item(), 5))
        ids.append(new[-1])
        if new[-1] in stop:
            break
    return new, margins


def make_demo():
    model_dir, folder = ASSETS / "demo-model", HERE / "demo-model"
    folder.mkdir(exist_ok=True)
    hf = AutoTokenizer.from_pretrained(model_dir)
    tok = hf.backend_tokenizer
    prompt = "Once upon a time there was a clever fox. One day the fox met an owl near the old tower, and they talked until dark."
    ids = tok.encode(prompt).ids
    exact, inv_freq, factor = logits_of(model_dir, torch.float64, ids)
    native, _, _ = logits_of(model_dir, torch.bfloat16, ids)
    print(f"demo-model: n {len(ids)}, logits std {exact.std():.2f}, max|native - f64| {(native.double() - exact).abs().max():.2e}", flush=True)
    save_file({"tokens": torch.tensor(ids), "logits_f64": exact.contiguous(), "logits_native": native.float().contiguous(), "inv_freq": inv_freq.contiguous(),
               "rope_attention_factor": torch.tensor([factor], dtype=torch.float32)}, folder / "goldens.safetensors")

    model = LlamaForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()
    stop = model.generation_config.eos_token_id
    chats, continuations = [], []
    for name, turns in CHATS.items():
        messages = [{"role": r, "content": c} for r, c in turns]
        text = hf.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        chat_ids = hf(text, add_special_tokens=False)["input_ids"]
        assert chat_ids == hf.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        new, margins = greedy(model, chat_ids, 40, stop)
        chats.append({"name": name, "messages": messages, "text": text, "ids": chat_ids, "greedy_ids": new, "greedy_text": tok.decode(new), "top1_margins": margins})
    for text in ["Once upon a time", "Anna had five apples."]:
        start = tok.encode(text).ids
        new, margins = greedy(model, start, 40, stop)
        continuations.append({"prompt": text, "prompt_ids": start, "ids": new, "text": tok.decode(new), "top1_margins": margins})
    # Bytes that are no UTF-8: a character cut short, alone and before ordinary text.
    smile, text = tok.encode("😁日", add_special_tokens=False).ids, tok.encode("Hello", add_special_tokens=False).ids
    lists = [smile, smile[:1], smile[:2], smile[:2] + text, text + smile[-1:], smile[1:], ids[:5]]
    decodings = [{"ids": x, "text": tok.decode(x, skip_special_tokens=False), "text_without_specials": tok.decode(x)} for x in lists]
    write_json(folder / "expected.json", {
        "about": "Written by make_goldens.py from assets/demo-model with Hugging Face tokenizers and transformers (float32, eager attention). ids: with <|begin_of_text|>, special tokens in the text recognised; "
                 "ids_without_specials: the same without <|begin_of_text|>; ids_plain: special tokens in the text are plain text; decoded: ids_plain decoded; top1_margins: best minus second logit at each step.",
        "eos_token_ids": stop, "encodings": encodings(tok, TEXTS), "decodings": decodings, "chats": chats, "greedy": continuations})


# ---- Llama 2 tokenizers ----------------------------------------------------------------------------------------------

LLAMA2_TEXTS = ["", " ", "  ", "Hello", " Hello", "  Hello", "Hello world", "Hello  world", "Hello world ", "Hello this is a test", "the cat and the dog", "The sun shone, and the bird sang.\n", "\n", "\nnew line", "tab\tand\r\nline",
                "7 plus 5 is 12", "Cửa Việt", "日本語", "😁", "a😁b", "naïve café", "▁", "a▁b", "\u0000", "<unk>", "<s>Hello</s>", "<0x41>", "[INST] Hello [/INST]", "don't", "    four spaces", "a  b    c        d", "e\u0301"]


def make_tokenizers():
    import tokenizers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    sys.path.insert(0, str(ASSETS))
    from demo_text import document

    folder = HERE / "tokenizers"
    folder.mkdir(exist_ok=True)
    rng = random.Random(11)
    corpus = [t.split("<|end_of_text|>")[0] for kind, t in (document(rng) for _ in range(3000)) if kind == "prose"]
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    alphabet = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'\"-:▁éï"))
    base.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=len(alphabet) + 160, initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False))
    learnt = json.loads(base.to_str())["model"]
    # As in Llama 2's file: specials, the 256 bytes, merged pieces by rank, and the single characters last. Runs of ▁ are pieces too.
    merges = [("▁", "▁"), ("▁▁", "▁▁")] + [tuple(m) for m in learnt["merges"]]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    for left, right in merges:
        if left + right not in pieces:
            pieces.append(left + right)
    pieces += [c for c in sorted(learnt["vocab"]) if len(c) == 1]
    vocab = {p: i for i, p in enumerate(pieces)}
    assert len(vocab) == len(pieces)

    def build(normalizer, pre_tokenizer):
        tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        if normalizer:
            tok.normalizer = normalizer
        if pre_tokenizer:
            tok.pre_tokenizer = pre_tokenizer
        tok.add_special_tokens([tokenizers.AddedToken(s, special=True, normalized=False) for s in ["<unk>", "<s>", "</s>"]])
        tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
        tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        return tok

    forms = {"llama2-legacy": build(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None),
             "llama2-metaspace": build(None, pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False))}
    for name, tok in forms.items():
        tok.save(str(folder / f"{name}.json"))
        again = Tokenizer.from_file(str(folder / f"{name}.json"))
        byte = {b: again.token_to_id(f"<0x{b:02X}>") for b in range(256)}
        letters = again.encode("Hello", add_special_tokens=False).ids
        # Bytes that are no UTF-8: cut short, alone, and before ordinary pieces.
        lists = [[byte[b] for b in "日".encode()], [byte[0xE6]], [byte[0xE6], byte[0x97]], [byte[0xE6], byte[0x97]] + letters, letters + [byte[0xF0], byte[0x9F]], [byte[0x80], byte[0x41]],
                 [1] + letters + [2], letters + letters, [byte[0x20]] + letters]
        write_json(folder / f"{name}.expected.json", {
            "decodings": [{"ids": ids, "text": again.decode(ids, skip_special_tokens=False), "text_without_specials": again.decode(ids)} for ids in lists],
            "about": "Written by make_goldens.py with Hugging Face tokenizers. ids: with <s>, special tokens in the text recognised; ids_without_specials: the same without <s>; "
                     "ids_plain: special tokens in the text are plain text; decoded: ids_plain decoded.",
            "encodings": encodings(again, LLAMA2_TEXTS)})
        print(f"tokenizers/{name}: {tok.get_vocab_size()} pieces", flush=True)


def write_json(path, value):
    text = json.dumps(value, indent=1, ensure_ascii=False)
    # Lists of plain numbers on one line.
    text = re.sub(r"\[\s+((?:-?[\d.e+-]+,\s+)*-?[\d.e+-]+)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m.group(1)) + "]", text)
    assert json.loads(text) == value
    path.write_text(text + "\n")


def main():
    what = sys.argv[1:] or ["checkpoints", "demo", "tokenizers"]
    torch.set_num_threads(2)
    torch.manual_seed(0)
    if "checkpoints" in what:
        check_published_frequencies()
        for i, name in enumerate(KINDS):
            make_checkpoint(name, 1000 + i)
    if "tokenizers" in what:
        make_tokenizers()
    if "demo" in what:
        make_demo()


if __name__ == "__main__":
    main()
