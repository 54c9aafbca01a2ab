"""tests/gpu/run bench: this device's limits, every op beside them, whole steps beside PyTorch's. Figures, no verdicts: a row fails where
nothing could be measured.

7B models by slope: steps of two numbers of layers are timed, and a whole model's is the rest plus 28 layers, for Drover and PyTorch alike.
"""
import datetime
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from device import device_facts

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = ROOT / "tests/reference/llama_torch.py"
SECONDS, SECONDS_OF_OPS = 460, 180  # of the eight minutes; whole steps need the rest
CHANGING = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu")
PEAK = 989.4e12  # FLOP/s, dense bf16, of an H100 or H200 SXM
FITS = [(8, "none"), (4, "none"), (8, "block"), (4, "block"), (2, "block"), (1, "block")]  # micro-batch and recompute, the fastest first
DOES_NOT_FIT = 5
# Of the peer with what it takes beside its steps; compiling takes a minute.
SECONDS_OF = {"drover": 30, "eager": 20, "compiled": 60}


class Shape:
    """A configuration as a whole step, and the peer's name for it."""

    def __init__(self, config, peer, layers, sequence, settings, hidden, heads, kv_heads, head_dim, ffn, vocab):
        self.config, self.peer, self.layers, self.sequence, self.settings = config, peer, layers, sequence, settings
        self.projections = hidden * (heads + 2 * kv_heads) * head_dim + heads * head_dim * hidden + 3 * hidden * ffn
        self.head, self.attention = hidden * vocab, heads * head_dim

    def flops_per_token(self):
        """6 a parameter of a product, and the causal half of attention, as Drover and the peer count."""
        return 6 * (self.layers * (self.projections + self.attention * self.sequence) + self.head)


COMMON = {"run.device": "cuda", "precision.compute": "bf16", "train.deterministic_attention": "false"}  # PyTorch's attention is not deterministic
QWEN_7B = Shape("configs/qwen2.5_7b.yaml", "qwen2.5-7b", 28, 1024, {**COMMON, "parallel.tp": 1, "train.sequence": 1024}, 3584, 28, 4, 128, 18944, 152064)
LLAMA_1B = Shape("configs/llama3.2_1b_one_h100.yaml", "llama3.2-1b", 16, 4096, COMMON, 2048, 32, 8, 64, 8192, 128256)
TINY = {"model.hidden": 64, "model.heads": 4, "model.kv_heads": 2, "model.head_dim": 16, "model.ffn": 96, "model.vocab": 258, "train.sequence": 32,
        "train.global_batch": 2, "train.micro_batch": 1}


def by_slope(few, many, layers):
    """few, many: (layers, seconds). Seconds of a step of `layers`, of one layer, and of what is no layer."""
    slope = (many[1] - few[1]) / (many[0] - few[0])
    rest = few[1] - few[0] * slope
    return rest + layers * slope, slope, rest


def describe(step, settings):
    """Of a measured step: Drover's settings, or the peer with what it had memory for."""
    if "peer" not in step:
        return ", ".join(f"{key} {value}" for key, value in settings.items() if key not in ("model.layers", "run.device_memory"))
    return f"{step['peer']}, micro-batch {step['micro_batch']}, accumulated {step['accumulate']}"


def objects(lines):
    """Google Benchmark's JSON as it comes: its context, then each result."""
    text = None
    for line in lines:
        if line.rstrip() in ('  "context": {', "    {"):
            text = "{"
        elif text is not None and line.rstrip().rstrip(",") in ("  }", "    }"):
            yield json.loads(text + "}")
            text = None
        elif text is not None:
            text += line


class Bench:
    def __init__(self, results, start, program, benchmark, tiny):
        self.results, self.start, self.program, self.benchmark, self.tiny = results, start, program, benchmark, tiny
        self.deadline = time.monotonic() + SECONDS
        self.limits, self.ops_rows, self.steps = {}, [], []
        self.busy = {}  # what nvidia-smi says in the middle of the ops
        self.peers = [] if tiny or not self.torch_has_a_gpu() else ["eager", "compiled"]
        self.steps_of = {"drover": (2, 1) if tiny else (10, 3), "eager": (10, 3), "compiled": (10, 3)}  # measured, before

    @staticmethod
    def torch_has_a_gpu():
        asked = subprocess.run([sys.executable, "-c", "import torch; print(torch.cuda.is_available())"], capture_output=True, text=True, check=False)
        return asked.stdout.strip() == "True"

    def left(self):
        return self.deadline - time.monotonic()

    def ops(self):
        """The device's limits first, then every op; results come one by one."""
        environment = {**os.environ, "DROVER_TEST_DEVICE": "cuda", **({"DROVER_BENCH_TINY": "1"} if self.tiny else {})}
        command = [*self.start, self.benchmark, "--benchmark_format=json", f"--benchmark_min_time={0.001 if self.tiny else 0.05}"]
        with subprocess.Popen([str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            end = threading.Timer(SECONDS_OF_OPS, process.kill)
            end.start()
            for found in objects(process.stdout):
                if "name" not in found:
                    self.limits = {"copy_GB_per_s": float(found["copy_GB_per_s"]), "bf16_gemm_TFLOP_per_s": float(found["bf16_gemm_GFLOP_per_s"]) / 1e3}
                    self.results.add("limits of the device", True, f"copy {self.limits['copy_GB_per_s']:.0f} GB/s, bf16 product "
                                     f"{self.limits['bf16_gemm_TFLOP_per_s']:.1f} TFLOP/s", **self.limits, device=found["device"])
                    continue
                row = {"op": found["name"].removesuffix("/manual_time"), "us": found["real_time"] / 1e3, "GB_per_s": found["GB/s"],
                       "TFLOP_per_s": found.get("GFLOP/s", 0) / 1e3, "of_limit": found["of_limit"]}
                self.ops_rows.append(row)
                if row["op"].startswith("attention") and not self.busy:
                    self.busy = {f"{key}, among the ops": value for key, value in device_facts().items() if key in CHANGING}
                self.results.add(row["op"], True, f"{row['us']:.1f} us, {row['GB_per_s']:.0f} GB/s, {row['TFLOP_per_s']:.1f} TFLOP/s, "
                                 f"{row['of_limit']:.0%} of its limit", **row)
            errors = process.stderr.read()
            end.cancel()
        if process.returncode != 0 or not self.ops_rows:
            self.results.add("ops", False, f"ended with {process.returncode}: {errors[-1500:]}")

    def last_json(self, command, timeout):
        done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=max(1, timeout), check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{(done.stdout + done.stderr)[-1000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def drover(self, verb, shape, settings, *options):
        given = {**shape.settings, **(TINY if self.tiny else {}), **settings}
        sets = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        return [*self.start, self.program, *verb, shape.config, *sets, *options]

    def settings_that_fit(self, shape, layers, memory):
        """The first of FITS that the plan says is held by `memory` GiB with that many layers; None: none."""
        for micro_batch, recompute in FITS[-1:] if self.tiny else FITS:
            settings = {"model.layers": layers, "train.micro_batch": micro_batch, "train.global_batch": micro_batch, "train.recompute": recompute,
                        "run.device_memory": memory}
            done = subprocess.run([str(word) for word in self.drover(["plan"], shape, settings, "--ranks", 1)], cwd=ROOT, capture_output=True, text=True,
                                  check=False)
            if done.returncode == 0:
                return settings
            if done.returncode != DOES_NOT_FIT:
                raise RuntimeError(f"plan of {shape.config}: exit {done.returncode}\n{done.stdout[-500:]}{done.stderr[-1000:]}")
        return None

    def own_step(self, shape, settings):
        steps, warmup = self.steps_of["drover"]
        command = self.drover(["bench", "step"], shape, settings, "--steps", steps, "--warmup", warmup, "--breakdown", "--json")
        return self.last_json(command, self.left())

    def peer_step(self, shape, mode, layers, micro_batch, accumulate):
        """With the micro-batch, or the largest half of it that PyTorch has memory for."""
        steps, warmup = self.steps_of[mode]
        while True:
            command = [sys.executable, PEER, "--device", "cuda", "--dtype", "bf16", "--shape", shape.peer, "--layers", layers, "--seq", shape.sequence,
                       "--micro-batch", micro_batch, "--accumulate", accumulate, "--steps", steps, "--warmup", warmup]
            try:
                found = self.last_json(command + (["--compile"] if mode == "compiled" else []), self.left())
                return {**found, "micro_batch": micro_batch, "accumulate": accumulate}
            except RuntimeError as error:
                if "OutOfMemory" not in str(error) and "out of memory" not in str(error) or micro_batch == 1:
                    raise
                micro_batch, accumulate = micro_batch // 2, accumulate * 2

    def measured(self, name, who, body):
        """body's figures as a row; None where there is no time for it, or it failed."""
        if self.left() < SECONDS_OF[who] and not self.tiny:
            self.results.add(name, None, f"left out: {self.left():.0f} s of the eight minutes are left")
            return None
        try:
            found = body()
        except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            self.results.add(name, False, str(error))
            return None
        self.results.add(name, True, f"{1e3 * found['step_s_median']:.1f} ms a step, {found['tokens_per_s']:.0f} tokens/s", **found)
        return found

    def conclude(self, name, who, shape, tokens, seconds, how, **more):
        """how: what was measured, in words."""
        rate = tokens / seconds
        mfu = 0 if self.tiny else rate * shape.flops_per_token() / PEAK
        row = {"model": name, "who": who, "tokens_per_s": rate, "step_s": seconds, "tokens": tokens, "mfu": mfu, "how": how, **more}
        self.steps.append(row)
        self.results.add(f"{name}, {who}", True, f"{rate:.0f} tokens/s, causal MFU {mfu:.1%}", **row)

    def qwen_7b(self, memory):
        shape, numbers = QWEN_7B, (1, 2) if self.tiny else (4, 12)
        settings = self.settings_that_fit(shape, numbers[1], memory)
        if settings is None:  # on a GPU of 80 GB
            numbers = (4, 8)
            settings = self.settings_that_fit(shape, numbers[1], memory)
        if settings is None:
            return self.results.add("7B by slope", False, f"no micro-batch of {numbers[1]} layers fits {memory:.0f} GiB")
        micro_batch, who = settings["train.micro_batch"], ["drover", *self.peers]
        found = {program: {} for program in who}
        for layers in numbers:  # in turn: machines that are shared change their speed
            for program in who:
                name = f"7B, {layers} layers, {program}"
                if program == "drover":
                    step = self.measured(name, program, lambda: self.own_step(shape, {**settings, "model.layers": layers}))
                else:
                    step = self.measured(name, program, lambda: self.peer_step(shape, program, layers, micro_batch, 1))
                if step:
                    found[program][layers] = step
        for program, steps in found.items():
            if len(steps) == 2:
                few, many = ((layers, steps[layers]["step_s_median"]) for layers in numbers)
                seconds, slope, rest = by_slope(few, many, shape.layers)
                tokens = steps[numbers[0]]["tokens_per_s"] * few[1]
                how = ", ".join(f"{layers} layers {1e3 * step['step_s_median']:.1f} ms ({describe(step, settings)})" for layers, step in steps.items())
                self.conclude("Qwen2.5 7B", program, shape, tokens, seconds, how, layer_s=slope, rest_s=rest, ops=steps[numbers[1]].get("ops", {}))
        return None

    def llama_1b(self):
        shape = LLAMA_1B
        for program in ["drover", *self.peers]:
            self.steps_of[program] = (2, 1) if self.tiny else (3, 1)  # of seconds
            if program == "drover":
                step = self.measured(f"1B, {program}", program, lambda: self.own_step(shape, {}))
            else:
                step = self.measured(f"1B, {program}", program, lambda: self.peer_step(shape, program, shape.layers, 12, 4))
            if step:
                tokens = step["tokens_per_s"] * step["step_s_median"]
                how = describe(step, {"train.micro_batch": 12, "accumulate": 4})
                self.conclude("Llama 3.2 1B", program, shape, tokens, step["step_s_median"], how, ops=step.get("ops", {}))

    def beside(self):
        """{model: Drover's tokens/s over the best of the peer's}, where both were measured."""
        ratios = {}
        for model in dict.fromkeys(row["model"] for row in self.steps):
            rates = {row["who"]: row["tokens_per_s"] for row in self.steps if row["model"] == model}
            peers = [rate for who, rate in rates.items() if who != "drover"]
            if "drover" in rates and peers:
                ratios[model] = rates["drover"] / max(peers)
        return ratios


def markdown(bench, facts, version, command):
    title = "small sizes, of no meaning" if bench.tiny else facts.get("name", "no nvidia-smi")
    lines = [f"# {title}, {datetime.date.today()}", "", f"`{command}`, in one call. {version}", ""]
    lines += ["| of the device | |", "|---|---|", *(f"| {key} | {value} |" for key, value in {**facts, **bench.busy, **bench.limits}.items()), ""]
    lines += ["## Ops", "", "Sizes of Llama 3 8B, 8,192 tokens; the mean of what the GPU's events say, operands rotating over four times the L2.",
              "", "| op | µs | GB/s | TFLOP/s | of limit |", "|---|---|---|---|---|"]
    lines += [f"| {row['op']} | {row['us']:.1f} | {row['GB_per_s']:.0f} | {row['TFLOP_per_s']:.1f} | {row['of_limit']:.0%} |" for row in bench.ops_rows]
    lines += ["", "## Whole steps", "", "bf16; MFU of 989.4 TFLOP/s with causal attention. 7B by slope: the rest and 28 layers.", "",
              "| model | program | ms | tokens/s | MFU |", "|---|---|---|---|---|"]
    lines += [f"| {row['model']} | {row['who']} | {1e3 * row['step_s']:.1f} | {row['tokens_per_s']:.0f} | {row['mfu']:.1%} |" for row in bench.steps]
    lines += ["", *(f"- {row['model']}, {row['who']}: {row['how']}" for row in bench.steps)]
    lines += ["", *(f"{model}: {ratio:.2f} times the best of PyTorch's modes." for model, ratio in bench.beside().items())]
    for row in (row for row in bench.steps if row.get("ops")):
        lines += ["", f"### Where the GPU's time goes: {row['model']}", "", "| op | ms | share | of limit |", "|---|---|---|---|"]
        lines += [f"| {op} | {1e3 * part['seconds']:.2f} | {part['share']:.1%} | {part['of_limit']:.0%} |" for op, part in row["ops"].items()]
    return "\n".join(lines) + "\n"


def bench(results, start, program, facts, out, tiny):
    """Writes out/NAME_DATE.md too: figures for docs/benchmarks."""
    simt = program.name.endswith("_on_simt")
    part = Bench(results, start, program, program.parent / ("kernels_benchmark_on_simt" if simt else "kernels_benchmark"), tiny)
    if not part.peers:
        results.add("the peer", None, "small sizes are not for it" if tiny else "PyTorch is not there, or sees no GPU")
    part.ops()
    part.qwen_7b(float(facts["memory.total"].split()[0]) / 1024 - 2 if "memory.total" in facts else 16)
    part.llama_1b()
    for model, ratio in part.beside().items():
        results.add(f"{model} beside the best of PyTorch's modes", True, f"{ratio:.2f} times its tokens/s", ratio=ratio)
    version = subprocess.run([str(word) for word in [*start, program, "--version"]], capture_output=True, text=True, check=False).stdout
    kind = next((word.lower() for word in facts.get("name", "").split() if word[:1] in "HB" and word[1:].isdigit()), "gpu")
    page = out / f"{kind}_{datetime.date.today()}.md"
    page.write_text(markdown(part, facts, ", ".join(version.split("\n")).strip(", "), "tests/gpu/run bench" + " --tiny" * tiny))
    print(page)
