"""The kernels of one training step by name: each matrix product and each attention call must be a tensor-core kernel for sm_90."""
import collections
import glob
import json
import os
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# cuBLAS 12.8 and newer: nvjet_tst_128x256_..., nvjet_sm90_hss_...; older: sm90_xmma_gemm_..., cutlass3x_sm90_tensorop_...gemm...
PRODUCT = re.compile(r"^nvjet_(sm90|[a-z]{3})_|sm90_xmma_gemm|cutlass3x_sm90_tensorop")
ATTENTION = re.compile(r"sdpa_sm90_.*(fprop|bprop)")
# What belongs to such a call beside its main kernel.
HELPER = re.compile(r"splitKreduce|cudnn.*fusion|cudnn.*(dot_do_o|convert_dq|convert_to_16)")
OWN = re.compile(r"drover")
OWN_PRODUCT = re.compile(r"drover.*attention")
MODEL = {"model": {"layers": 2, "hidden": 1024, "heads": 8, "kv_heads": 4, "ffn": 2816, "vocab": 8192}, "train": {
    "steps": 1, "sequence": 1024, "micro_batch": 2, "global_batch": 4}, "optimizer": {"lr": 0.001}, "precision": {"compute": "bf16"},
    "data": {"train": "data"}, "run": {"device": "cuda", "dir": "run", "heartbeat_seconds": 0, "timed_products": False}}  # candidates are no part of a step


def kind_of(kernel):
    """product, attention, helper, own, or wrong: what should have been one of these."""
    for kind, pattern in (("wrong", OWN_PRODUCT), ("own", OWN), ("product", PRODUCT), ("attention", ATTENTION), ("helper", HELPER)):
        if pattern.search(kernel):
            return kind
    return "wrong"


def judge(lines, calls):
    """lines: of tests/gpu/kernel_names.cpp. calls: {"gemm": a step's, "attention": a step's}. (passed, what was found, the names and how often)"""
    rows = [line.split("\t", 1) for line in lines]
    refused = [text for where, text in rows if where == "error"]
    names = collections.Counter(name for where, name in rows if where not in ("", "error"))
    kinds = collections.Counter()
    for name, count in names.items():
        kinds[kind_of(name)] += count
    wrong = [name for name in names if kind_of(name) == "wrong"]
    text = f"{kinds['product']} sm_90 tensor-core kernels for {calls['gemm']:.0f} products, {kinds['attention']} for {calls['attention']:.0f} calls of attention"
    if wrong:
        text += "; others: " + ", ".join(wrong)
    if refused:
        text += "; CUPTI: " + refused[0]
    right = not wrong and not refused and 0 < kinds["product"] == calls["gemm"] and 0 < kinds["attention"] == calls["attention"]
    return right, text, dict(names)


def cupti_directory():
    """Of libcupti: on LD_LIBRARY_PATH or in the toolkit; None: nowhere."""
    places = os.environ.get("LD_LIBRARY_PATH", "").split(":") + glob.glob("/usr/local/cuda*/lib64") + glob.glob("/usr/local/cuda*/extras/CUPTI/lib64")
    places += glob.glob("/usr/local/cuda*/lib")
    return next((place for place in places if place and glob.glob(f"{place}/libcupti.so*")), None)


def kernel_names(results, start, program):
    name, cupti = "kernels of a step by name", cupti_directory()
    library = next((path for path in (program.parent / "libkernel_names.so", program.parents[1] / "lib/libkernel_names.so") if path.exists()), None)
    if not cupti or not library:
        results.add(name, None, "no libcupti" if not cupti else "no libkernel_names.so: the build had no CUPTI")
        return
    with tempfile.TemporaryDirectory() as path:
        directory = pathlib.Path(path)
        (directory / "model.yaml").write_text(json.dumps(MODEL))
        (directory / "text.txt").write_text("\n".join(file.read_text() for file in sorted((ROOT / "docs").glob("*.md"))))

        def run(arguments, **environment):
            command = [str(word) for word in [*start, program, *arguments]]
            done = subprocess.run(command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(arguments)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}")
            return done.stdout

        try:
            run(["prepare", "text.txt", "--out", "data"])
            figures = json.loads(run(["bench", "step", "model.yaml", "--steps", "1", "--warmup", "0", "--breakdown", "--json"]).splitlines()[-1])
            run(["train", "model.yaml"], CUDA_INJECTION64_PATH=str(library), NVTX_INJECTION64_PATH=str(library), DROVER_KERNEL_NAMES="names.txt",
                LD_LIBRARY_PATH=":".join(filter(None, [cupti, os.environ.get("LD_LIBRARY_PATH")])))
            lines = (directory / "names.txt").read_text().splitlines()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            results.add(name, False, str(error))
            return
    passed, text, names = judge(lines, {op: figures["ops"][op]["calls"] for op in ("gemm", "attention")})
    results.add(name, passed, text, kernels=names)
