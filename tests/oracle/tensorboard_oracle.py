#!/usr/bin/env python3
"""TensorBoard's own EventAccumulator on the event files of a run that was killed and resumed: exactly one point a step, the values of
metrics.jsonl, for a reader that comes after it, for one that forgets nothing, and for one that looked on all the while.

  tensorboard_oracle.py DROVER MPIRUN_SCRIPT      DROVER_KILL_SEED=N repeats a run
"""
import math
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

import drover_files

STEPS, VALIDATE_EVERY, KILLS = 150, 15, 8
SETTINGS = {"model.layers": 2, "model.hidden": 32, "model.heads": 4, "model.ffn": 64, "model.vocab": 258, "train.steps": STEPS, "train.global_batch": 32,
            "train.micro_batch": 2, "train.sequence": 32, "train.seed": 3, "train.validate_every": VALIDATE_EVERY, "train.validation_batches": 2,
            "optimizer.lr": 0.003, "precision.compute": "f32", "data.train": "data", "data.validation": "data", "checkpoint.every": 3,
            "checkpoint.resume": "auto", "run.dir": "run", "run.device": "cpu", "run.threads": 1}
PER_STEP = ["loss", "grad_norm", "lr", "tokens_per_second", "seconds", "data_share"]
PER_VALIDATION = ["validation_loss", "bits_per_byte"]


def event_files(run):
    return sorted(run.glob("events.out.tfevents.*"))


def rank_of(launcher):
    """A process id of a rank below the launcher, or None when none is up."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    family = {launcher}
    for _ in range(4):  # launcher script, mpirun, ranks
        family |= {int(pid) for pid, parent, _ in rows if int(parent) in family}
    ranks = [int(pid) for pid, _, name in rows if int(pid) in family and name == "drover"]
    return ranks[0] if ranks else None


def train(command, directory, run, kill_at):
    """One start, whose rank is killed once this start's event file holds `kill_at` bytes (None: never). True when the run was done."""
    before = set(event_files(run))
    process = subprocess.Popen([str(word) for word in command], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while kill_at is not None and process.poll() is None:
        if any(path.stat().st_size >= kill_at for path in event_files(run) if path not in before):
            rank = rank_of(process.pid)
            if rank is not None:
                os.kill(rank, signal.SIGKILL)
            break
        time.sleep(0.001)
    code = process.wait()
    assert code in (0, 128 + signal.SIGKILL), f"ended with {code}"
    return code == 0


def tear(run, draw):
    """What a kill in the middle of a write leaves: a part of a record of a later step."""
    if not event_files(run):
        return
    last = event_files(run)[-1]
    data, at, records = last.read_bytes(), 0, []
    while at < len(data):
        length = struct.unpack_from("<Q", data, at)[0]
        records.append(data[at:at + 12 + length + 4])
        at += 12 + length + 4
    part = records[-1][:draw.randrange(1, len(records[-1]))]
    with open(last, "ab") as file:
        file.write(part)


def as_f32(value):
    return math.nan if value is None else struct.unpack("<f", struct.pack("<f", value))[0]


def reader(run, purge=True):
    return EventAccumulator(str(run), size_guidance={SCALARS: 0}, purge_orphaned_data=purge)


def problems_of(name, accumulator, run):
    accumulator.Reload()
    rows = drover_files.read_metrics(run)
    expected = {tag: [(row["step"], as_f32(row[tag])) for row in rows if tag in row] for tag in [*PER_STEP, *PER_VALIDATION]}
    if sorted(accumulator.Tags()["scalars"]) != sorted(expected):
        yield f"{name}: tags {accumulator.Tags()['scalars']}"
    for tag, points in expected.items():
        steps = range(VALIDATE_EVERY, STEPS + 1, VALIDATE_EVERY) if tag in PER_VALIDATION else range(1, STEPS + 1)
        found = [(event.step, event.value) for event in accumulator.Scalars(tag)]
        if [step for step, _ in found] != list(steps):
            yield f"{name}: {tag} at steps {[step for step, _ in found]}"
        elif found != points:
            yield f"{name}: {tag} has other values than metrics.jsonl"


def main():
    drover, mpirun = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    seed = int(os.environ.get("DROVER_KILL_SEED", random.randrange(2**32)))
    print(f"seed {seed} (again with DROVER_KILL_SEED={seed})")
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        directory = pathlib.Path(name)
        run = directory / "run"
        drover_files.write_corpus(directory / "corpus.jsonl", 2500, 40)
        drover_files.run([drover, "prepare", "--tokenizer", "bytes", "--out", "data", "corpus.jsonl"], directory)
        (directory / "config.yaml").write_text(drover_files.yaml(SETTINGS))
        command = [mpirun, "-np", "2", drover, "train", "config.yaml"]
        kills, looking = 0, reader(run)
        while not train(command, directory, run, draw.randrange(80, 3000) if kills < KILLS else None):  # some 200 bytes a step
            kills += 1
            tear(run, draw)
            if event_files(run):
                looking.Reload()
        files = len(event_files(run))
        readers = {"a reader": reader(run), "a reader that purges nothing": reader(run, purge=False), "a reader that was open all the time": looking}
        problems = [problem for name, accumulator in readers.items() for problem in problems_of(name, accumulator, run)]
    print(f"{kills} kills, {files} event files")
    if kills < 4 or files < 3:
        problems.append("too few starts were killed after a step that counts: too little was tested")
    print("\n".join(problems) or f"one point a step, 1 to {STEPS}, in {', '.join(PER_STEP)}, and every validation")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
