#!/usr/bin/env python3
"""Trains the demo model in assets/demo-model/ from nothing but the grammar in demo_text.py.

    pip install -r assets/requirements.txt
    python assets/train_demo_model.py                  # about 25 minutes on two free cores with AVX512-BF16
    python assets/train_demo_model.py --check          # loads the saved folder and measures its held-out loss again

The result is an ordinary Hugging Face folder: config.json, generation_config.json, tokenizer.json,
tokenizer_config.json, model.safetensors (bfloat16), and beside them heldout.txt and a README.md with the measured loss.
Text, tokenizer and order of the batches come from fixed seeds; the last bits of the weights depend on the versions of
torch and on the processor, so that a new run gives an equally good model, not the same bytes.
"""

import argparse
import hashlib
import json
import math
import random
import time
from collections import Counter
from pathlib import Path

import tokenizers
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from demo_text import document

HERE = Path(__file__).resolve().parent
OUT = HERE / "demo-model"

# Every dimension of a linear layer is a multiple of 128.
HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 256, 4, 4, 2, 64, 384, 1024
THETA, EPS = 500000.0, 1e-5
ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256}
CONTEXT = 2048

SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>",
            "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
            "<|reserved_special_token_3|>", "<|reserved_special_token_4|>", "<|reserved_special_token_5|>", "<|reserved_special_token_6|>", "<|reserved_special_token_7|>"]
ORDINARY = VOCAB - len(SPECIALS)  # ids below are text, the specials stand at the end as in Llama 3
WHOLE_WORDS = 8  # ids that no merge makes: only `ignore_merges` finds them (Llama 3 has 588 of these)
BOS, EOS, EOT = ORDINARY, ORDINARY + 1, ORDINARY + 9

# Llama 3's pre-tokenizer.
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# Llama 3's chat template.
CHAT_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

TRAIN_SEED, HELDOUT_SEED, HELDOUT_BYTES = 1, 2, 48_000
SEPARATOR = "\n%%\n"
# Two stages, each with an optimiser and a schedule of its own. Every step is 4096 tokens: rows of 256 first, then rows of
# 256 to 1024 in turn, so that long chats stay sane. The first stage's cosine is cut off before its end on purpose.
STEP_TOKENS = 4096
STAGES = [{"steps": 3000, "decay": 3700, "warmup": 150, "rate": 4e-3, "rows": [256]},
          {"steps": 500, "decay": 500, "warmup": 25, "rate": 1.2e-3, "rows": [256, 512, 256, 1024]}]


# ---- tokenizer -------------------------------------------------------------------------------------------------------

def make_tokenizer(texts):
    """Byte-level BPE as in Llama 3: ORDINARY ids of text, then the special tokens."""
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated"),
                                     pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = split
    trainer = trainers.BpeTrainer(vocab_size=ORDINARY - WHOLE_WORDS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tok.train_from_iterator(texts, trainer)
    model = json.loads(tok.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(m) for m in model["merges"]]
    words = Counter(w for t in texts for w, _ in split.pre_tokenize_str(t))
    whole = sorted((w for w in words if w not in vocab and len(w) > 4), key=lambda w: (-words[w], w))[:WHOLE_WORDS]
    for w in whole:
        vocab[w] = len(vocab)
    assert len(vocab) == ORDINARY, len(vocab)

    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tok.pre_tokenizer = split
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([tokenizers.AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B:1", special_tokens=[("<|begin_of_text|>", BOS)])])
    assert tok.get_vocab_size() == VOCAB and tok.token_to_id("<|eot_id|>") == EOT
    return tok


# ---- model -----------------------------------------------------------------------------------------------------------

def rope_tables(n):
    """cos and sin, [n, HEAD_DIM], with llama3 scaling of the frequencies."""
    f = 1.0 / THETA ** (torch.arange(0, HEAD_DIM, 2, dtype=torch.float32) / HEAD_DIM)
    w = 2 * math.pi / f
    lo, hi, old, factor = ROPE["low_freq_factor"], ROPE["high_freq_factor"], ROPE["original_max_position_embeddings"], ROPE["factor"]
    s = (old / w - lo) / (hi - lo)
    f = torch.where(w < old / hi, f, torch.where(w > old / lo, f / factor, (1 - s) * f / factor + s * f))
    angle = torch.outer(torch.arange(n, dtype=torch.float32), f)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    x1, x2 = x.chunk(2, -1)
    return x * cos + torch.cat([-x2, x1], -1) * sin


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = torch.nn.RMSNorm(HIDDEN, EPS)
        self.qkv = torch.nn.Linear(HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD_DIM, bias=False)
        self.o = torch.nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)
        self.post_attention_layernorm = torch.nn.RMSNorm(HIDDEN, EPS)
        self.gate_up = torch.nn.Linear(HIDDEN, 2 * FFN, bias=False)
        self.down = torch.nn.Linear(FFN, HIDDEN, bias=False)

    def forward(self, x, cos, sin):
        b, n, _ = x.shape
        qkv = self.qkv(self.input_layernorm(x)).view(b, n, HEADS + 2 * KV_HEADS, HEAD_DIM).transpose(1, 2)
        qk, v = qkv[:, : HEADS + KV_HEADS], qkv[:, HEADS + KV_HEADS:]
        qk = rotate(qk, cos, sin)
        q, k = qk[:, :HEADS], qk[:, HEADS:]
        k, v = (t.repeat_interleave(HEADS // KV_HEADS, 1) for t in (k, v))
        out = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), is_causal=True)
        x = x + self.o(out.transpose(1, 2).reshape(b, n, HEADS * HEAD_DIM))
        gate, up = self.gate_up(self.post_attention_layernorm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(VOCAB, HIDDEN)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = torch.nn.RMSNorm(HIDDEN, EPS)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                deep = name.endswith(("o.weight", "down.weight"))
                torch.nn.init.normal_(p, std=0.03 / math.sqrt(2 * LAYERS) if deep else 0.03)

    def forward(self, ids, cos, sin):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed.weight)

    def hugging_face(self):
        """The weights under Hugging Face's names, in bfloat16."""
        out = {"model.embed_tokens.weight": self.embed.weight, "model.norm.weight": self.norm.weight}
        for i, layer in enumerate(self.layers):
            q, k, v = layer.qkv.weight.split([HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM])
            gate, up = layer.gate_up.weight.chunk(2)
            for name, t in {"self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v, "self_attn.o_proj": layer.o.weight,
                            "mlp.gate_proj": gate, "mlp.up_proj": up, "mlp.down_proj": layer.down.weight,
                            "input_layernorm": layer.input_layernorm.weight, "post_attention_layernorm": layer.post_attention_layernorm.weight}.items():
                out[f"model.layers.{i}.{name}.weight"] = t
        return {k: v.detach().to(torch.bfloat16).contiguous() for k, v in out.items()}


# ---- training --------------------------------------------------------------------------------------------------------

class Batches:
    """Rows of whole documents, each row beginning with <|begin_of_text|>; what does not fit is cut off. No document comes twice on purpose."""

    def __init__(self, tok):
        self.tok, self.rng, self.ready, self.seen = tok, random.Random(TRAIN_SEED), [], set()

    def next_document(self):
        if not self.ready:
            texts = [document(self.rng)[1] for _ in range(4096)]
            self.seen.update(hashlib.sha256(t.encode()).digest()[:12] for t in texts)
            self.ready = [e.ids for e in self.tok.encode_batch(texts)][::-1]
        return self.ready.pop()

    def next(self, rows, n):
        out = []
        for _ in range(rows):
            row = []
            while len(row) < n + 1:
                row += self.next_document()  # begins with BOS
            out.append(row[: n + 1])
        return torch.tensor(out)


def heldout_documents(seen):
    """Documents from another seed; those that training has seen word for word are left out."""
    rng, docs, size = random.Random(HELDOUT_SEED), [], 0
    while size < HELDOUT_BYTES:
        kind, text = document(rng)
        if hashlib.sha256(text.encode()).digest()[:12] not in seen:
            docs.append((kind, text))
            size += len(text.encode()) + len(SEPARATOR)
    return docs


@torch.no_grad()
def quick_loss(model, rows):
    cos, sin = rope_tables(rows.shape[1] - 1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(rows[:, :-1], cos, sin)
    return F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten()).item()


def train_stage(model, batches, held_rows, stage, log):
    """One stage; returns the running mean of the training loss."""
    decay = [p for p in model.parameters() if p.dim() == 2]
    other = [p for p in model.parameters() if p.dim() != 2]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}], lr=stage["rate"], betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min((s + 1) / stage["warmup"], 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * s / stage["decay"]))))
    tables = {n: rope_tables(n) for n in stage["rows"]}
    began, mean = time.time(), None
    for step in range(1, stage["steps"] + 1):
        n = stage["rows"][step % len(stage["rows"])]
        batch = batches.next(STEP_TOKENS // n, n)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch[:, :-1], *tables[n])
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        schedule.step()
        mean = loss.item() if mean is None else 0.97 * mean + 0.03 * loss.item()
        if step % 50 == 0 or step == stage["steps"]:
            spent = time.time() - began
            log(f"step {step}/{stage['steps']}  train {mean:.4f}  held-out {quick_loss(model, held_rows):.4f}  {step * STEP_TOKENS / spent:.0f} tokens/s  {spent:.0f} s")
    return mean


def train(checkpoint, log):
    """Tokenizer, model, the batches drawn, and figures for the README. With a checkpoint file, a finished stage is not trained again."""
    torch.manual_seed(0)
    rng = random.Random(TRAIN_SEED + 1000)
    tok = make_tokenizer([strip_specials(document(rng)[1]) for _ in range(12000)])
    batches = Batches(tok)
    held = Batches(tok)
    held.rng = random.Random(HELDOUT_SEED)
    held_rows = held.next(40, 256)
    model = Model()
    saved = torch.load(checkpoint) if checkpoint and checkpoint.exists() else {"stages": 0}
    if saved["stages"]:
        model.load_state_dict(saved["model"])
    mean = None
    for i, stage in enumerate(STAGES):
        if i < saved["stages"]:
            for step in range(1, stage["steps"] + 1):  # draw the same text, so that the next stage sees what it would have seen
                n = stage["rows"][step % len(stage["rows"])]
                batches.next(STEP_TOKENS // n, n)
            continue
        mean = train_stage(model, batches, held_rows, stage, log)
        if checkpoint:
            torch.save({"model": model.state_dict(), "stages": i + 1}, checkpoint)
    steps = sum(s["steps"] for s in STAGES)
    return tok, model, batches, {"tokens": steps * STEP_TOKENS, "train": mean, "steps": steps}


def strip_specials(text):
    for s in SPECIALS:
        text = text.replace(s, "\n")
    return text


# ---- saving and checking ---------------------------------------------------------------------------------------------

def save(tok, model, docs):
    OUT.mkdir(exist_ok=True)
    save_file(model.hugging_face(), OUT / "model.safetensors", metadata={"format": "pt"})
    tok.save(str(OUT / "tokenizer.json"))

    def write(name, value):
        (OUT / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    write("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "intermediate_size": FFN,
        "vocab_size": VOCAB, "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS, "rope_theta": THETA, "rope_scaling": ROPE,
        "tie_word_embeddings": True, "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False, "hidden_act": "silu",
        "bos_token_id": BOS, "eos_token_id": [EOS, EOT], "initializer_range": 0.03, "pretraining_tp": 1, "use_cache": True, "torch_dtype": "bfloat16"})
    write("generation_config.json", {"bos_token_id": BOS, "eos_token_id": [EOS, EOT], "do_sample": True, "temperature": 0.6, "top_p": 0.9})
    write("tokenizer_config.json", {
        "added_tokens_decoder": {str(ORDINARY + i): {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
                                 for i, s in enumerate(SPECIALS)},
        "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"], "model_max_length": CONTEXT, "tokenizer_class": "PreTrainedTokenizerFast"})
    (OUT / "heldout.txt").write_text(SEPARATOR.join(t for _, t in docs))


def check(log):
    """Loads the saved folder with transformers, compares it with the module here, and measures the loss on heldout.txt in float32."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    hf = LlamaForCausalLM.from_pretrained(OUT, dtype=torch.float32, attn_implementation="eager").eval()
    tok = AutoTokenizer.from_pretrained(OUT)
    mine = Model().eval()
    weights = {k: v.float() for k, v in load_file(OUT / "model.safetensors").items()}
    mine.embed.weight.data = weights["model.embed_tokens.weight"]
    mine.norm.weight.data = weights["model.norm.weight"]
    for i, layer in enumerate(mine.layers):
        w = {k.removeprefix(f"model.layers.{i}."): v for k, v in weights.items() if k.startswith(f"model.layers.{i}.")}
        layer.qkv.weight.data = torch.cat([w[f"self_attn.{x}_proj.weight"] for x in "qkv"])
        layer.o.weight.data = w["self_attn.o_proj.weight"]
        layer.gate_up.weight.data = torch.cat([w["mlp.gate_proj.weight"], w["mlp.up_proj.weight"]])
        layer.down.weight.data = w["mlp.down_proj.weight"]
        layer.input_layernorm.weight.data = w["input_layernorm.weight"]
        layer.post_attention_layernorm.weight.data = w["post_attention_layernorm.weight"]

    sums = {"chat": [0.0, 0, 0], "prose": [0.0, 0, 0]}
    worst = 0.0
    with torch.no_grad():
        for i, text in enumerate((OUT / "heldout.txt").read_text().split(SEPARATOR)):
            ids = torch.tensor([tok(text)["input_ids"]])
            assert ids[0, 0] == BOS and ids[0, 1] != BOS
            logits = hf(ids).logits
            if i % 40 == 0:
                worst = max(worst, (logits - mine(ids, *rope_tables(ids.shape[1]))).abs().max().item())
            entry = sums["chat" if text.endswith("<|eot_id|>") else "prose"]
            entry[0] += F.cross_entropy(logits[0, :-1].double(), ids[0, 1:], reduction="sum").item()
            entry[1] += ids.shape[1] - 1
            entry[2] += 1
        total = [sum(s[j] for s in sums.values()) for j in range(3)]
        log(f"held-out loss {total[0] / total[1]:.5f} over {total[1]} tokens of {total[2]} documents; "
            + "; ".join(f"{k} {s[0] / s[1]:.5f} over {s[1]} tokens of {s[2]}" for k, s in sums.items()) + f"; transformers and this script differ by at most {worst:.1e}")
        assert worst < 1e-3
        samples = []
        torch.manual_seed(5)
        for kind, prompt in [("greedy", "Once upon a time"), ("temperature 0.8", "Once upon a time"), ("temperature 0.8", "Anna had"), ("temperature 0.8", "")]:
            ids = torch.tensor([tok(prompt)["input_ids"]])
            out = hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=160, do_sample=kind != "greedy", temperature=0.8 if kind != "greedy" else None, top_p=None, top_k=0 if kind != "greedy" else None, pad_token_id=EOS)
            samples.append((kind, prompt, tok.decode(out[0], skip_special_tokens=True)))
        for question in ["Hello!", "What sound does a cow make?", "What is 7 plus 5?", "Tell me a story about a fox and a key.", "Who are you?",
                         "Tom has a red kite and Mia has a green cup. Who has the cup?"]:
            text = tok.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)
            assert text == f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{question}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", text
            ids = torch.tensor([tok(text, add_special_tokens=False)["input_ids"]])
            out = hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=120, do_sample=False, temperature=None, top_p=None, pad_token_id=EOS)
            samples.append(("chat, greedy", question, tok.decode(out[0, ids.shape[1]:], skip_special_tokens=True)))
    for kind, prompt, text in samples:
        log(f"--- {kind} [{prompt}]\n{text}")
    return total, sums, samples


def readme(total, sums, samples, stats):
    params = sum(v.numel() for v in load_file(OUT / "model.safetensors").values())
    loss = total[0] / total[1]
    greedy, chat = samples[0], [s for s in samples if s[0].startswith("chat")]
    quote = "\n".join("> " + line if line else ">" for line in greedy[2].split("\n"))
    turns = "\n".join(f"| {q} | {' '.join(t.split())} |" for _, q, t in chat)
    (OUT / "README.md").write_text(f"""# Demo model

A small Llama 3: {params:,} parameters, {LAYERS} layers, hidden {HIDDEN}, {HEADS} query heads on {KV_HEADS} key/value heads of {HEAD_DIM}, FFN {FFN}, vocabulary {VOCAB},
tied embeddings, `llama3` RoPE scaling (factor {ROPE['factor']:.0f} from {ROPE['original_max_position_embeddings']} positions), context {CONTEXT}, bfloat16. It writes little stories in plain English,
answers simple questions in Llama 3's chat form, and knows nothing else. It is here so that the whole engine can be tried, and quantisation
errors seen in a loss, without a download.

It was trained from random weights by [`../train_demo_model.py`](../train_demo_model.py) on text made by the grammar in [`../demo_text.py`](../demo_text.py), and on
nothing else: no other text, no other model. Licence: MIT OR Apache-2.0, as the rest of this crate.

Training: {stats['steps']} steps of AdamW, {stats['tokens'] / 1e6:.1f} million tokens, rows of 256 and, in the last {STAGES[-1]['steps']} steps, 256 to 1024 tokens; training loss at the end {stats['train']:.4f} nats per token
(rows packed from several documents: not comparable to the figure below in the third digit).

## Held-out loss

**{loss:.4f} nats per token** (perplexity {math.exp(loss):.4f}) on `heldout.txt`: {total[2]} documents from a seed that training did not use, without those
that training happened to see word for word. Of it chats: {sums['chat'][0] / sums['chat'][1]:.4f} over {sums['chat'][1]} tokens of {sums['chat'][2]} documents; prose: {sums['prose'][0] / sums['prose'][1]:.4f} over {sums['prose'][1]} tokens of {sums['prose'][2]}.

To compute it again:

1. Split the file at `"\\n%%\\n"`. Each piece is one document, its last token (`<|end_of_text|>`, or `<|eot_id|>` in a chat) included.
2. Encode each document with special tokens recognised in the text, and `<|begin_of_text|>` put before it. Positions start at 0 in each document.
3. Sum `-ln p(token | everything before it in the document)` over every token after `<|begin_of_text|>`: {total[1]} tokens in all.
4. Divide by that number.

Measured by `train_demo_model.py --check` with the weights as stored in `model.safetensors` (rounded to bfloat16), computed in float32 by Hugging Face
transformers (eager attention), the sum in float64.

## What it says

Greedy, from `{greedy[1]}`:

{quote}

| asked (chat, greedy) | answered |
|---|---|
{turns}
""")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--check", action="store_true", help="only load the saved folder, print its loss and samples")
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--checkpoint", type=Path, help="written after each stage; a run that finds it goes on from there")
    args = args.parse_args()
    torch.set_num_threads(args.threads)

    def log(line):
        print(line, flush=True)

    if args.check:
        check(log)
        return
    tok, model, batches, stats = train(args.checkpoint, log)
    save(tok, model, heldout_documents(batches.seen))
    readme(*check(log), stats)


if __name__ == "__main__":
    main()
