#!/usr/bin/env python3
"""index.h5 as any HDF5 tool sees it: whole tensors, equal bit for bit in every layout that saved the same state, and to the bytes that the
rank files hold.

  checkpoint_h5py_oracle.py DROVER RESAVE_CHECKPOINT MPIRUN_SCRIPT
"""
import pathlib
import shutil
import sys
import tempfile

import h5py
import numpy as np

import drover_files

LAYOUTS = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (1, 4, 1), (2, 2, 2)]  # dp, tp, pp
SETTINGS = {"model.layers": 4, "model.hidden": 32, "model.heads": 8, "model.kv_heads": 4, "model.ffn": 64, "model.vocab": 258, "model.qkv_bias": True,
            "train.steps": 2, "train.global_batch": 8, "train.micro_batch": 1, "train.sequence": 32, "train.seed": 3, "optimizer.lr": 0.003,
            "precision.compute": "f32", "data.train": "data", "run.dir": "run", "run.device": "cpu", "run.threads": 1}


def tensors(index):
    return {f"{array}/{name}": dataset for array, group in index.items() for name, dataset in group.items()}


def from_rank_files(directory, name, shape):
    """The tensor put together from the datasets of the rank files by the offset in their names, and how often each element was there."""
    whole, times = np.zeros(shape, "f4"), np.zeros(shape, "i4")
    array, logical = name.split("/", 1)
    for path in sorted(directory.glob("rank_*.h5")):
        with h5py.File(path) as file:
            for key, part in file.get(array, {}).items():
                stem, offset = key.rsplit("@", 1)
                if stem != logical:
                    continue
                place = tuple(slice(int(begin), int(begin) + extent) for begin, extent in zip(offset.split(","), part.shape, strict=True))
                whole[place] = part[...]
                times[place] += 1
    return whole, times


def as_h5dump_shows(index, name, directory):
    """The tensor's bytes as HDF5's own command-line tool reads them."""
    out = directory / "h5dump.bin"
    drover_files.run(["h5dump", "-d", f"/{name}", "-b", "LE", "-o", out, index], directory)
    return out.read_bytes()


def main():
    drover, resave, mpirun = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    problems = []
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        drover_files.write_corpus(directory / "corpus.jsonl", 400, 40)
        drover_files.run([drover, "prepare", "--tokenizer", "bytes", "--out", "data", "corpus.jsonl"], directory)
        (directory / "config.yaml").write_text(drover_files.yaml(SETTINGS))
        drover_files.run([drover, "train", "config.yaml"], directory)
        source = drover_files.checkpoint(directory / "run", 2)
        with h5py.File(source / "index.h5") as index:
            expected = {name: dataset[...] for name, dataset in tensors(index).items()}
        assert len(expected) == 3 * (4 * 12 + 3), len(expected)
        assert all(np.isfinite(value).all() and value.any() for value in expected.values())
        for dp, tp, pp in LAYOUTS:
            run, ranks = f"dp{dp}_tp{tp}_pp{pp}", dp * tp * pp
            drover_files.run([mpirun, "-np", ranks, resave, "config.yaml", source, run, f"parallel.tp={tp}", f"parallel.pp={pp}"], directory)
            saved = drover_files.checkpoint(directory / run, 2)
            with h5py.File(saved / "index.h5") as index:
                found = tensors(index)
                if sorted(found) != sorted(expected):
                    problems.append(f"{run}: index.h5 holds other tensors")
                    continue
                for name, dataset in found.items():
                    whole, times = from_rank_files(saved, name, dataset.shape)
                    if not dataset.is_virtual:
                        problems.append(f"{run}: {name} is not a virtual dataset")
                    if dataset.dtype != np.float32 or dataset[...].tobytes() != expected[name].tobytes():
                        problems.append(f"{run}: {name} differs from what one rank saved")
                    if (times != 1).any() or whole.tobytes() != expected[name].tobytes():
                        problems.append(f"{run}: the rank files do not hold {name} exactly once")
            if (dp, tp, pp) == LAYOUTS[-1] and shutil.which("h5dump"):
                problems += [f"{run}: h5dump shows another {name}" for name, whole in expected.items()
                             if as_h5dump_shows(saved / "index.h5", name, directory) != whole.tobytes()]
            print(f"{run}: {len(found)} tensors in {len(list(saved.glob('rank_*.h5')))} files")
    print("\n".join(problems) or "every layout's index.h5 shows the same tensors")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
