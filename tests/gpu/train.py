"""tests/gpu/run train: small models on the GPU beside the cpu, several ranks on the one GPU beside one, killed and resumed, and a planted bug."""
import json
import math
import pathlib
import re
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Losses, norms and each parameter's gradient of step 1: what f32 and bf16 differ by in themselves (tests/mpi/cuda_test.cpp).
BOUNDS = {"f32": {"loss": 1e-5, "grad_norm": 1e-4}, "bf16": {"loss": 2e-3, "grad_norm": 4e-2}}
F32_GRADIENT = 1e-5
FARTHER = 2  # a bf16 gradient of the GPU is at most this many times as far from the cpu's as that is from the cpu's in f32
MODEL = {"model.layers": 2, "model.hidden": 128, "model.heads": 4, "model.kv_heads": 2, "model.ffn": 256, "model.vocab": 258, "train.sequence": 64,
         "train.micro_batch": 4, "train.global_batch": 16, "optimizer.lr": 0.002, "optimizer.warmup_steps": 1,
         "optimizer.schedule": "constant", "data.train": "data", "run.heartbeat_seconds": 0}
DIFFERENT = 10  # exit code of `checkpoint diff`


class Trainer:
    """Runs `program` in `directory`; start and launcher: what stands before it on one rank and on several."""

    def __init__(self, start, launcher, program, steps, directory):
        self.start, self.launcher, self.program, self.steps, self.directory = start, launcher, program, steps, directory
        text = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
        (directory / "text.txt").write_text(text)
        self.run(["prepare", "text.txt", "--out", "data"])

    def command(self, arguments, ranks=1, program=None):
        return [str(word) for word in [*self.start, *(self.launcher + ["-np", ranks] if ranks > 1 else []), program or self.program, *arguments]]

    def run(self, arguments, ranks=1, program=None, codes=(0,)):
        done = subprocess.run(self.command(arguments, ranks, program), cwd=self.directory, capture_output=True, text=True, timeout=240)
        if done.returncode not in codes:
            raise RuntimeError(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout

    def configured(self, name, ranks=1, **settings):
        """The arguments of a training that writes to directory/name."""
        config = {**MODEL, "train.steps": self.steps, "run.threads": 1, "run.dir": name, "run.ranks_per_gpu": ranks, **settings}
        tree = {}
        for key, value in config.items():
            section, field = key.split(".")
            tree.setdefault(section, {})[field] = value
        (self.directory / f"{name}.yaml").write_text(json.dumps(tree))
        return ["train", f"{name}.yaml"]

    def train(self, name, ranks=1, program=None, **settings):
        self.run(self.configured(name, ranks, **settings), ranks, program)

    def first_step(self, name, program=None, **settings):
        """One step, whose gradients stay in its checkpoint."""
        self.train(name, program=program, **{"checkpoint.every": 1, "checkpoint.gradients": True, **settings, "train.steps": 1})

    def steps_between_saves(self):
        return max(1, self.steps // 10)

    def saving(self):
        """Of runs that are compared bit by bit: each would choose algorithms by timing them anew."""
        return {"precision.compute": "bf16", "run.device": "cuda", "run.timed_products": False, "checkpoint.every": self.steps_between_saves()}

    def require_equal(self, *runs):
        self.run(["checkpoint", "diff", *(self.directory / run / f"checkpoints/step_{self.steps:08}" for run in runs)])

    def rows(self, name):
        rows = [json.loads(line) for line in (self.directory / name / "metrics.jsonl").read_text().splitlines()]
        return {row["step"]: row for row in rows if "loss" in row}

    def gradient_distances(self, a, b):
        """{parameter: norm(gradient of b - that of a) / norm(that of a)}"""
        text = self.run(["checkpoint", "diff", a, b], codes=(0, DIFFERENT))
        return {name: float(relative) for name, relative in re.findall(r"^gradient +(\S+) +\S+ +relative (\S+)", text, re.M)}


def largest_difference(a, b, field):
    if set(a) != set(b) or not a:
        return math.inf
    return max((abs(b[step][field] - a[step][field]) / abs(a[step][field]) for step in a), key=lambda d: math.inf if math.isnan(d) else d)


def judge_gradients(distances, allowed):
    """distances, allowed: {parameter: relative distance}. (passed, what was found, the figures)"""
    if not distances or set(distances) != set(allowed):
        return False, f"{len(distances)} gradients, {len(allowed)} to compare with", {}
    beyond = [name for name in distances if not distances[name] <= allowed[name]]
    worst = max(distances, key=lambda name: distances[name] / max(allowed[name], 1e-30))
    text = f"{len(distances)} parameters, {len(beyond)} too far; worst {worst}: {distances[worst]:.1e}, {allowed[worst]:.1e} allowed"
    return not beyond, text, {"distances": distances, "allowed": allowed}


class Part:
    def __init__(self, results, trainer, check):
        self.results, self.trainer, self.check = results, trainer, check

    def attempt(self, name, body):
        begin = time.time()
        try:
            passed, text, *more = body()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            passed, text, more = False, str(error), []
        self.results.add(name, passed, f"{text}  ({time.time() - begin:.1f} s)", **(more[0] if more else {}))

    def beside(self, name, reference, precision, ranks=1, program=None, **settings):
        self.trainer.train(name, ranks, program, **{"precision.compute": precision, "run.device": "cuda", **settings})
        worst = {field: largest_difference(self.trainer.rows(reference), self.trainer.rows(name), field) for field in BOUNDS[precision]}
        return all(worst[field] <= bound for field, bound in BOUNDS[precision].items()), ", ".join(f"{field} {value:.1e}" for field, value in worst.items())

    def gradients(self, precision, program=None):
        """Of step 1, every parameter's: f32 within a bound; bf16 against how far bf16 is from f32 on the cpu."""
        name = f"first_cuda_{precision}{'_bug' if program else ''}"
        self.trainer.first_step(name, program, **{"precision.compute": precision, "run.device": "cuda"})
        distances = self.trainer.gradient_distances(f"first_cpu_{precision}", name)
        if precision == "f32":
            return judge_gradients(distances, dict.fromkeys(distances, F32_GRADIENT))
        rounding = self.trainer.gradient_distances("first_cpu_bf16", "first_cpu_f32")
        return judge_gradients(distances, {parameter: FARTHER * distance for parameter, distance in rounding.items()})

    def precision(self, precision):
        self.trainer.train(f"cpu_{precision}", **{"precision.compute": precision, "run.device": "cpu"})
        self.attempt(f"{precision}, gradients of step 1 beside the cpu's", lambda: self.gradients(precision))
        self.attempt(f"{precision}, one rank beside the cpu", lambda: self.beside(f"cuda_{precision}", f"cpu_{precision}", precision))
        for layout, ranks, settings in (("tp 2", 2, {"parallel.tp": 2}), ("pp 2", 2, {"parallel.pp": 2}), ("dp 2", 2, {}),
                                        ("tp 2 pp 2", 4, {"parallel.tp": 2, "parallel.pp": 2})):
            self.attempt(f"{precision}, {layout} on one GPU beside one rank",
                         lambda: self.beside(f"{layout}_{precision}".replace(" ", "_"), f"cuda_{precision}", precision, ranks, **settings))
        if self.check.exists():
            self.attempt(f"{precision}, tp 2 pp 2 by NCCL on one GPU beside one rank",
                         lambda: self.beside(f"nccl_{precision}", f"cuda_{precision}", precision, 4,
                                             **{"parallel.tp": 2, "parallel.pp": 2, "run.communication": "nccl"}))

    def collectives(self):
        command = [str(word) for word in [*self.trainer.start, *self.trainer.launcher, "-np", 3, self.check, "nccl"]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        right = done.returncode == 0 and "all values are right" in done.stdout
        return right, "all values are right" if right else (done.stdout + done.stderr)[-1500:].strip()

    def resumed(self):
        trainer, every = self.trainer, self.trainer.steps_between_saves()
        trainer.train("whole", **trainer.saving())
        command = trainer.command(trainer.configured("killed", **trainer.saving()))
        with subprocess.Popen(command, cwd=trainer.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not (trainer.directory / f"killed/checkpoints/step_{2 * every:08}").exists():
                time.sleep(0.01)
            alive = process.poll() is None
            process.send_signal(signal.SIGKILL)
        trainer.run(["resume", "killed"])
        trainer.require_equal("whole", "killed")
        return alive, "equal to the bit" if alive else "the run was over before it was killed"

    def by_graphs(self):
        self.trainer.train("graphs", **self.trainer.saving(), **{"run.cuda_graphs": True})
        self.trainer.require_equal("whole", "graphs")
        return True, "equal to the bit"

    def noticed(self, program):
        """The comparisons above, of a program with a bug in one kernel: they must fail."""
        found = [("gradients of f32", self.gradients("f32", program)), ("gradients of bf16", self.gradients("bf16", program)),
                 ("losses and norms of f32", self.beside("cuda_bug", "cpu_f32", "f32", program=program))]
        passed = [name for name, (passed, *_) in found if passed]
        return not passed, "these pass all the same: " + ", ".join(passed) if passed else "; ".join(f"{name}: {text}" for name, (_, text, *_) in found)


def train(results, start, launcher, program, steps):
    on_simt = "_on_simt" if program.name.endswith("_on_simt") else ""
    check = program.parent / ("check_communicator" + (on_simt or "_on_gpus"))  # missing where the build was without NCCL
    bug = program.parent / f"drover_with_a_bug{on_simt}"
    with tempfile.TemporaryDirectory() as path:
        part = Part(results, Trainer(start, launcher, program, steps, pathlib.Path(path)), check)
        for precision in BOUNDS:
            part.trainer.first_step(f"first_cpu_{precision}", **{"precision.compute": precision, "run.device": "cpu"})
        for precision in BOUNDS:
            part.precision(precision)
        if check.exists():
            part.attempt("every collective by NCCL, 3 ranks", part.collectives)
        part.attempt("bf16, killed and resumed", part.resumed)
        part.attempt("bf16, by CUDA graphs beside single launches", part.by_graphs)
        if bug.exists():
            part.attempt("a bug planted in a kernel is noticed", lambda: part.noticed(bug))
        else:
            results.add("a bug planted in a kernel is noticed", None, f"no {bug.name}: built with -DDROVER_PLANTED_BUG= (none)")
