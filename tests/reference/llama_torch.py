#!/usr/bin/env python3
"""The peer to beat: a Llama training step as a good PyTorch user writes it (SDPA, fused AdamW, optional torch.compile).

launch/bench_against_torch runs it beside Drover: same shapes, same number of tokens, one after the other, medians. By itself:

  python3 llama_torch.py --device cpu  --dtype bf16 --hidden 512 --layers 8 --heads 8 --kv-heads 4 --ffn 1408 --vocab 4096 --seq 512 --micro-batch 4
  python3 llama_torch.py --device cuda --dtype bf16 --compile --shape qwen2.5-7b --layers 4 --seq 1024 --micro-batch 8

FLOPs of a token: 6 x matmul parameters (head included, embedding lookup excluded) + causal attention 6 * layers * heads * head_dim * seq, as
Drover counts them. Needs torch >= 2.5; on cuda the peak is 989.4e12 (H100 SXM, dense bf16).
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPES = {  # hidden, layers, heads, kv_heads, head_dim, ffn, vocab, qkv_bias
    "llama3-8b": (4096, 32, 32, 8, 128, 14336, 128256, False),
    "llama3-70b": (8192, 80, 64, 8, 128, 28672, 128256, False),
    "llama3.2-1b": (2048, 16, 32, 8, 64, 8192, 128256, False),
    "qwen2.5-1.5b": (1536, 28, 12, 2, 128, 8960, 151936, True),
    "qwen2.5-7b": (3584, 28, 28, 4, 128, 18944, 152064, True),
}


class Block(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = a.heads, a.kv_heads, a.head_dim
        self.norm1 = nn.RMSNorm(a.hidden, eps=1e-5)
        self.norm2 = nn.RMSNorm(a.hidden, eps=1e-5)
        self.qkv = nn.Linear(a.hidden, (a.heads + 2 * a.kv_heads) * a.head_dim, bias=a.qkv_bias)
        self.out = nn.Linear(a.heads * a.head_dim, a.hidden, bias=False)
        self.gate_up = nn.Linear(a.hidden, 2 * a.ffn, bias=False)
        self.down = nn.Linear(a.ffn, a.hidden, bias=False)

    def forward(self, x, cos, sin):
        b, s, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(
            [self.heads * self.head_dim, self.kv_heads * self.head_dim, self.kv_heads * self.head_dim], dim=-1)
        q = rope(q.view(b, s, self.heads, self.head_dim), cos, sin).transpose(1, 2)
        k = rope(k.view(b, s, self.kv_heads, self.head_dim), cos, sin).transpose(1, 2)
        v = v.view(b, s, self.kv_heads, self.head_dim).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv_heads)
        x = x + self.out(y.transpose(1, 2).reshape(b, s, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


def rope(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Llama(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.embedding = nn.Embedding(a.vocab, a.hidden)
        self.blocks = nn.ModuleList(Block(a) for _ in range(a.layers))
        self.norm = nn.RMSNorm(a.hidden, eps=1e-5)
        self.head = nn.Linear(a.hidden, a.vocab, bias=False)
        inv = 1.0 / (500000.0 ** (torch.arange(0, a.head_dim, 2).float() / a.head_dim))
        angle = torch.outer(torch.arange(a.seq).float(), inv)[None, :, None, :]
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.cross_entropy(self.head(self.norm(x)).float().flatten(0, 1), targets.flatten())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shape", choices=SHAPES)
    for name, default in [("hidden", 512), ("layers", None), ("heads", 8), ("kv-heads", 4), ("head-dim", None), ("ffn", 1408),
                          ("vocab", 4096), ("seq", 512), ("micro-batch", 4), ("accumulate", 1), ("steps", 10), ("warmup", 3)]:
        p.add_argument("--" + name, type=int, default=default)
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    p.add_argument("--dtype", choices=["f32", "bf16"], default="bf16", help="bf16 = autocast over f32 master weights on cpu; bf16 weights on cuda")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--peak", type=float, default=989.4e12, help="FLOP/s for the MFU column on cuda")
    a = p.parse_args()
    a.qkv_bias = False
    if a.shape:
        hidden, layers, a.heads, a.kv_heads, a.head_dim, a.ffn, a.vocab, a.qkv_bias = SHAPES[a.shape]
        a.hidden, a.layers = hidden, a.layers or layers
    a.layers, a.head_dim = a.layers or 8, a.head_dim or a.hidden // a.heads
    torch.manual_seed(0)
    torch.set_num_threads(a.threads)
    cuda = a.device == "cuda"
    model = Llama(a).to(a.device)
    if cuda and a.dtype == "bf16":
        model = model.to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model) if a.compile else model
    tokens = torch.randint(a.vocab, (a.micro_batch, a.seq + 1), device=a.device)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=not cuda and a.dtype == "bf16")

    def step():
        optimizer.zero_grad(set_to_none=True)
        for _ in range(a.accumulate):
            with autocast:
                loss = run(tokens[:, :-1], tokens[:, 1:]) / a.accumulate
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    for _ in range(a.warmup):
        loss = step()
    if cuda:
        torch.cuda.synchronize()
    seconds = []
    for _ in range(a.steps):
        start = time.perf_counter()
        loss = step()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    per_step = a.micro_batch * a.seq * a.accumulate
    matmul = a.layers * (a.hidden * (a.heads + 2 * a.kv_heads) * a.head_dim + a.heads * a.head_dim * a.hidden + 3 * a.hidden * a.ffn) + a.hidden * a.vocab
    flops = (6 * matmul + 6 * a.layers * a.heads * a.head_dim * a.seq) * per_step / median
    result = {"peer": "pytorch " + torch.__version__, "device": torch.cuda.get_device_name() if cuda else f"cpu x{a.threads}", "dtype": a.dtype,
              "compile": a.compile, "tokens_per_s": round(per_step / median, 1), "gflop_per_s": round(flops / 1e9, 1),
              "step_s_median": round(median, 4), "step_s_min": round(min(seconds), 4), "step_s_max": round(max(seconds), 4),
              "loss": round(float(loss) * a.accumulate, 4)}
    if cuda:
        result["mfu"] = round(flops / a.peak, 4)
        result["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
