#!/usr/bin/env python3
"""Drover's training step beside PyTorch's, on this machine: whole programs in turn, several rounds, medians, the faster of eager and compiled.

  launch/bench_against_torch [--shape default|wide|quickstart ...] [--dtype f32|bf16 ...] [--rounds N] [--threads N] [--no-compile] [--json FILE]
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DROVER = HERE.parent.parent / "build/release/drover"
SHAPES = {
    "default": {"hidden": 512, "layers": 8, "heads": 8, "kv_heads": 4, "ffn": 1408, "vocab": 4096, "sequence": 512, "micro_batch": 4, "accumulate": 1},
    "wide": {"hidden": 1024, "layers": 4, "heads": 16, "kv_heads": 8, "ffn": 2816, "vocab": 32000, "sequence": 1024, "micro_batch": 1, "accumulate": 1},
    "quickstart": {"hidden": 128, "layers": 4, "heads": 4, "kv_heads": 2, "ffn": 384, "vocab": 258, "sequence": 128, "micro_batch": 4, "accumulate": 8},
}
# A step's tokens in fewer pieces, where PyTorch is faster so.
TORCH = {"quickstart": {"micro_batch": 16, "accumulate": 2}}


def last_json(command, environment=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def drover(shape, dtype, threads, steps):
    with tempfile.TemporaryDirectory() as directory:
        config = pathlib.Path(directory) / "bench.yaml"
        config.write_text(f"""model: {{hidden: {shape['hidden']}, layers: {shape['layers']}, heads: {shape['heads']}, kv_heads: {shape['kv_heads']}, ffn: {shape['ffn']}, vocab: {shape['vocab']}}}
train: {{steps: 1000, sequence: {shape['sequence']}, micro_batch: {shape['micro_batch']}, global_batch: {shape['micro_batch'] * shape['accumulate']}}}
optimizer: {{lr: 0.0003, clip: 1.0, weight_decay: 0.1}}
precision: {{compute: {dtype}}}
data: {{train: none}}
run: {{device: cpu, threads: {threads}}}
""")
        return last_json([DROVER, "bench", "step", config, "--steps", steps, "--json"])


def torch(shape, dtype, threads, steps, compiled):
    command = [sys.executable, HERE / "llama_torch.py", "--device", "cpu", "--dtype", dtype, "--threads", threads, "--steps", steps]
    for name in ("hidden", "layers", "heads", "kv_heads", "ffn", "vocab", "micro_batch", "accumulate"):
        command += ["--" + name.replace("_", "-"), shape[name]]
    return last_json(command + ["--seq", shape["sequence"]] + (["--compile"] if compiled else []), {"OMP_NUM_THREADS": str(threads)})


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown cpu"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--dtype", nargs="+", choices=["f32", "bf16"], default=["f32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    print(f"{cpu_model()}, {arguments.threads} threads, AMX {'yes' if 'amx_bf16' in flags else 'no'}; {arguments.rounds} rounds of {arguments.steps} steps, medians")
    print(f"{'shape':<11} {'dtype':<5} {'drover':>10} {'eager':>10} {'compiled':>10}  tokens/s  {'ratio':>6} {'GEMM rate':>10} {'share':>6} {'peer':>6}")
    results = []
    for name in arguments.shape:
        for dtype in arguments.dtype:
            shape, rows = SHAPES[name], {"drover": [], "eager": [], "compiled": []}
            for _ in range(arguments.rounds):
                rows["drover"].append(drover(shape, dtype, arguments.threads, arguments.steps))
                rows["eager"].append(torch(shape | TORCH.get(name, {}), dtype, arguments.threads, arguments.steps, False))
                if not arguments.no_compile:
                    rows["compiled"].append(torch(shape | TORCH.get(name, {}), dtype, arguments.threads, arguments.steps, True))
            median = {who: statistics.median(row["tokens_per_s"] for row in runs) if runs else 0 for who, runs in rows.items()}
            gemm = statistics.median(row["gemm_gflop_per_s"] for row in rows["drover"])
            best = max(median["eager"], median["compiled"])
            flops = rows["drover"][0]["gflop_per_s"] / rows["drover"][0]["tokens_per_s"]  # GFLOP of a token, counted alike
            result = {"shape": name, "dtype": dtype, **median, "ratio": median["drover"] / best, "gemm_gflop_per_s": gemm,
                      "share": median["drover"] * flops / gemm, "peer_share": best * flops / gemm}
            results.append(result)
            print(f"{name:<11} {dtype:<5} {median['drover']:>10.0f} {median['eager']:>10.0f} {median['compiled']:>10.0f}            {result['ratio']:>6.2f} "
                  f"{gemm:>10.1f} {result['share']:>6.1%} {result['peer_share']:>6.1%}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
