"""Drover's files and token order, read by the documents alone (docs/data_format.md, docs/checkpoint_format.md): nothing here calls Drover's
own readers, so that a mistake in them cannot hide itself."""
import json
import os
import pathlib
import random
import struct
import subprocess

import h5py
import numpy as np


def run(command, directory, environment=None):
    done = subprocess.run([str(word) for word in command], cwd=directory, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_corpus(path, documents, longest, seed=5):
    """Letters that mostly follow each other, in documents of 0 to `longest` bytes."""
    draw = random.Random(seed)
    with open(path, "w") as file:
        for _ in range(documents):
            letter, text = 0, ""
            for _ in range(draw.randint(0, longest)):
                letter = draw.randrange(20) if draw.randrange(3) == 0 else (letter + 1) % 20
                text += chr(ord("a") + letter)
            file.write(json.dumps({"text": text}) + "\n")


def yaml(settings):
    """One level of sections is all that the oracles need; `model.rope_scaling.factor` is the second."""
    root = {}
    for key, value in settings.items():
        at = root
        *sections, leaf = key.split(".")
        for section in sections:
            at = at.setdefault(section, {})
        at[leaf] = value

    def lines(node, depth):
        for key, value in node.items():
            if isinstance(value, dict):
                yield "  " * depth + key + ":"
                yield from lines(value, depth + 1)
            else:
                yield "  " * depth + f"{key}: {str(value).lower() if isinstance(value, bool) else value}"

    return "\n".join(lines(root, 0)) + "\n"


def philox4x32(key, low, high):
    """Philox4x32-10 (Salmon et al. 2011)."""
    mask = 0xFFFFFFFF
    c = [low & mask, low >> 32, high & mask, high >> 32]
    k0, k1 = key & mask, key >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & mask, (p0 >> 32) ^ c[3] ^ k1, p0 & mask]
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c


def permutation(seed, epoch, n, i):
    """Eight rounds of a Feistel network over twice `half` bits, walked until the value lands in [0, n)."""
    half = ((n - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    while True:
        left, right = i >> half, i & mask
        for turn in range(8):
            left, right = right, left ^ (philox4x32(seed, turn << 32 | right, epoch)[0] & mask)
        i = left << half | right
        if i < n:
            return i


class Tokens:
    """All shards of a directory as one sequence of tokens."""

    def __init__(self, directory):
        tokens, begins, total = [], {0}, 0
        for path in sorted(pathlib.Path(directory).glob("*.tokens")):
            data = path.read_bytes()
            magic, version, width = struct.unpack_from("<8sII", data, 0)
            count, ends = struct.unpack_from("<QQ", data, 96)
            assert (magic, version) == (b"DROVTOKS", 1), path
            tokens.append(np.frombuffer(data, "<u2" if width == 2 else "<u4", count, 256).astype(np.int64))
            begins.update(int(end) + total for end in np.frombuffer(data, "<u8", ends, 256 + (width * count + 7) // 8 * 8))
            total += count
        self.tokens, self.begins = np.concatenate(tokens), begins

    def sample(self, index, length, document_mask):
        """token, target, position, document number, weight: [length] each."""
        start = index * length
        begin = [i > 0 and start + i in self.begins for i in range(length + 1)]
        document = np.cumsum(begin[:length]) if document_mask else np.zeros(length, np.int64)
        position = np.arange(length) - np.array([np.flatnonzero(document == d)[0] for d in document])
        weight = np.array([0.0 if document_mask and begin[i + 1] else 1.0 for i in range(length)])
        text = self.tokens[start:start + length + 1]
        return text[:-1], text[1:], position, document, weight

    def step(self, step, batch, length, seed, document_mask):
        """The samples of a step (1-based), stacked: [batch, length] each."""
        samples = (len(self.tokens) - 1) // length
        numbers = range((step - 1) * batch, step * batch)
        rows = [self.sample(permutation(seed, n // samples, samples, n % samples), length, document_mask) for n in numbers]
        return [np.stack(column) for column in zip(*rows)]


def checkpoint(run_directory, step):
    return pathlib.Path(run_directory) / "checkpoints" / f"step_{step:08d}"


def read_array(directory, array):
    """Whole tensors of `array` by logical name, through index.h5."""
    with h5py.File(directory / "index.h5") as index:
        return {name: dataset[...] for name, dataset in index[array].items()}


def read_metrics(run_directory):
    return [json.loads(line) for line in open(pathlib.Path(run_directory) / "metrics.jsonl")]
