#!/usr/bin/env python3
"""Drover against Transformers: the same weights (a step-0 checkpoint, through h5py), the same tokens (docs/data_format.md), PyTorch's own
loss, autograd, clipping and AdamW. Every gradient of step 1 and the losses of 20 steps agree in f32 within 1e-5, relative.

  transformers_oracle.py DROVER VARIANT        exits 1 and prints what differs
"""
import math
import pathlib
import sys
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

import drover_files

BOUND = 1e-5
STEPS, BATCH, LENGTH, SEED, VOCAB = 20, 12, 48, 11, 258
LR, WARMUP, MIN_RATIO, DECAY, CLIP = 0.003, 5, 0.1, 0.1, 0.5

SHAPE = {"model.layers": 3, "model.hidden": 48, "model.heads": 6, "model.kv_heads": 2, "model.ffn": 112, "model.norm_eps": 1e-5, "model.rope_theta": 10000}
LLAMA31 = {"model.rope_scaling.factor": 8, "model.rope_scaling.low_freq_factor": 1, "model.rope_scaling.high_freq_factor": 4,
           "model.rope_scaling.original_positions": 32}
PACKED, LONG = 25, 100000  # longest document: several a sample, or one that is longer than all samples together
VARIANTS = {
    "llama_grouped_query": ({}, PACKED),
    "llama_tied": ({"model.tied_embeddings": True}, PACKED),
    "llama_3_1_rope": (LLAMA31, PACKED),
    "llama_3_1_rope_tied_one_document": ({**LLAMA31, "model.tied_embeddings": True}, LONG),
    "llama_multi_head_one_document": ({"model.kv_heads": 6, "model.head_dim": 16}, LONG),
    "llama_without_document_mask": ({"data.document_mask": False}, PACKED),
    "qwen2": ({"model.qkv_bias": True}, PACKED),
    "qwen2_tied_one_document": ({"model.qkv_bias": True, "model.tied_embeddings": True, "model.rope_theta": 1000000}, LONG),
}


def train_with_drover(drover, changes, longest, directory):
    documents = 3 if longest == LONG else 2500
    drover_files.write_corpus(directory / "corpus.jsonl", documents, longest)
    drover_files.run([drover, "prepare", "--tokenizer", "bytes", "--out", "data", "--shard-tokens", "9000", "corpus.jsonl"], directory)
    settings = {**SHAPE, "model.vocab": VOCAB, "train.steps": STEPS, "train.global_batch": BATCH, "train.micro_batch": 3, "train.sequence": LENGTH,
                "train.seed": SEED, "optimizer.lr": LR, "optimizer.warmup_steps": WARMUP, "optimizer.min_lr_ratio": MIN_RATIO,
                "optimizer.weight_decay": DECAY, "optimizer.clip": CLIP, "precision.compute": "f32", "data.train": "data", "checkpoint.every": 1,
                "checkpoint.keep": 0, "checkpoint.gradients": True, "run.dir": "run", "run.device": "cpu", "run.threads": 1, **changes}
    (directory / "config.yaml").write_text(drover_files.yaml(settings))
    drover_files.run([drover, "train", "config.yaml"], directory)
    return settings


def make_model(settings, dtype):
    rope = {"rope_type": "default", "rope_theta": float(settings["model.rope_theta"])}
    if "model.rope_scaling.factor" in settings:
        rope.update(rope_type="llama3", factor=float(settings["model.rope_scaling.factor"]),
                    low_freq_factor=float(settings["model.rope_scaling.low_freq_factor"]),
                    high_freq_factor=float(settings["model.rope_scaling.high_freq_factor"]),
                    original_max_position_embeddings=settings["model.rope_scaling.original_positions"])
    bias = settings.get("model.qkv_bias", False)
    shape = dict(vocab_size=VOCAB, hidden_size=settings["model.hidden"], intermediate_size=settings["model.ffn"],
                 num_hidden_layers=settings["model.layers"], num_attention_heads=settings["model.heads"],
                 num_key_value_heads=settings["model.kv_heads"], rms_norm_eps=settings["model.norm_eps"], rope_parameters=rope,
                 max_position_embeddings=1024, tie_word_embeddings=settings.get("model.tied_embeddings", False), attn_implementation="eager")
    if bias:
        return Qwen2ForCausalLM(Qwen2Config(**shape)).to(dtype)
    head_dim = settings.get("model.head_dim", settings["model.hidden"] // settings["model.heads"])
    return LlamaForCausalLM(LlamaConfig(head_dim=head_dim, **shape)).to(dtype)


def load(model, weights):
    tied = "lm_head.weight" not in weights
    missing, unexpected = model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()}, strict=False)
    assert not unexpected and set(missing) <= ({"lm_head.weight"} if tied else set()), (missing, unexpected)
    assert tied == (model.lm_head.weight is model.model.embed_tokens.weight)


def weighted_loss(model, batch, packed):
    token, target, position, document, weight = (torch.from_numpy(column) for column in batch)
    extra = {}
    if packed:
        causal = torch.ones(LENGTH, LENGTH).tril().bool()
        allowed = causal & (document[:, :, None] == document[:, None, :])
        mask = torch.zeros(allowed.shape, dtype=model.dtype).masked_fill(~allowed, torch.finfo(model.dtype).min)
        extra = {"attention_mask": mask[:, None], "position_ids": position}
    logits = model(input_ids=token, use_cache=False, **extra).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
    weight = weight.flatten().to(losses.dtype)
    return (losses * weight).sum() / weight.sum()


def learning_rate(step):
    if step <= WARMUP:
        return LR * step / WARMUP
    low = MIN_RATIO * LR
    return low + (LR - low) * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2


def train_with_torch(settings, weights, tokens, packed, dtype):
    """Losses and gradient norms of all steps, and the gradients of step 1 before clipping."""
    model = make_model(settings, dtype)
    load(model, weights)
    named = list(model.named_parameters())
    groups = [{"params": [p for name, p in named if p.dim() == 2], "weight_decay": DECAY}, {"params": [p for name, p in named if p.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), eps=1e-8)
    losses, norms, gradients = [], [], {}
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        loss = weighted_loss(model, tokens.step(step, BATCH, LENGTH, SEED, packed), packed)
        loss.backward()
        if step == 1:
            gradients = {name: p.grad.double().numpy().copy() for name, p in named}
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        losses.append(loss.item())
        optimizer.step()
    return losses, norms, gradients


def compare(metrics, gradients, reference):
    """What differs from the reference: losses, gradient norms, each gradient; the largest of each kind."""
    losses, norms, expected = reference
    assert sorted(gradients) == sorted(expected), "Drover and Transformers name different parameters"

    def relative(ours, theirs):
        return ((ours.astype("f8") - theirs) ** 2).sum() ** 0.5 / (theirs ** 2).sum() ** 0.5

    worst = {name: relative(gradients[name], expected[name]) for name in expected}
    return {"loss": max(abs(row["loss"] / loss - 1) for row, loss in zip(metrics, losses, strict=True)),
            "norm": max(abs(row["grad_norm"] / norm - 1) for row, norm in zip(metrics, norms, strict=True)),
            "gradient": max(worst.values()), "of": max(worst, key=worst.get)}


def main():
    drover, variant = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    changes, longest = VARIANTS[variant]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        settings = train_with_drover(drover, changes, longest, directory)
        weights = drover_files.read_array(drover_files.checkpoint(directory / "run", 0), "master")
        gradients = drover_files.read_array(drover_files.checkpoint(directory / "run", 1), "gradient")
        metrics = drover_files.read_metrics(directory / "run")
        tokens = drover_files.Tokens(directory / "data")
    packed = settings.get("data.document_mask", True) and longest == PACKED
    single = train_with_torch(settings, weights, tokens, packed, torch.float32)
    double = train_with_torch(settings, weights, tokens, packed, torch.float64)
    ours, exact = compare(metrics, gradients, single), compare(metrics, gradients, double)
    theirs = max(abs(a / b - 1) for a, b in zip(single[0], double[0]))
    print(f"{variant}: loss {metrics[0]['loss']:.6f} -> {metrics[-1]['loss']:.6f}, gradient norms {min(double[1]):.2f} to {max(double[1]):.2f}")
    print(f"Drover against PyTorch in f32: losses {ours['loss']:.1e}, norms {ours['norm']:.1e}, gradients {ours['gradient']:.1e} ({ours['of']})")
    print(f"Drover against PyTorch in f64: losses {exact['loss']:.1e}, norms {exact['norm']:.1e}, gradients {exact['gradient']:.1e}; PyTorch's own f32 losses {theirs:.1e}")
    wrong = [what for what in ("loss", "norm", "gradient") if not max(ours[what], exact[what]) <= BOUND]
    if any(abs(row["lr"] / learning_rate(row["step"]) - 1) > 1e-12 for row in metrics):
        wrong.append("learning rate")
    if not metrics[-1]["loss"] < metrics[0]["loss"] - 1:
        wrong.append("nothing was learnt: the comparison would be empty")
    if min(double[1]) < CLIP:
        wrong.append("clipping was not always active")
    print("differs: " + ", ".join(wrong) if wrong else f"agrees within {BOUND:.0e}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
