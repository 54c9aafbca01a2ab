#!/usr/bin/env python3
"""prepare against programs that are not ours: Python's own decoder for ill-formed UTF-8, its json for records, and the regex module with the patterns
by which byte-level BPE tokenizers split text, for the places where a long text is cut."""
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import regex

from shards import documents_of

DROVER, CUT_PLACES = sys.argv[1:3]
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PATTERNS = {
    "GPT-2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": "|".join([r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + "?",
                       r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + "?",
                       r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]),
    "Llama 3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "Qwen": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "DeepSeek": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
ALPHABET = ["a", "B", "é", "中", "7", "!", "/", "'s", "'", ".", " ", " ", "\n", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\u0301", "🐑"]
random.seed(3)


def check_cuts():
    texts = ["".join(random.choices(ALPHABET, k=random.randint(2, 12))) for _ in range(20000)]
    lines = subprocess.run([CUT_PLACES], input="".join(text.encode().hex() + "\n" for text in texts), stdout=subprocess.PIPE, text=True,
                           check=True).stdout.splitlines()
    cuts = 0
    for text, line in zip(texts, lines, strict=True):
        for at in map(int, line.split()):
            left, right = text.encode()[:at].decode(), text.encode()[at:].decode()
            cuts += 1
            for name, pattern in PATTERNS.items():
                split = lambda part: [match.group() for match in regex.finditer(pattern, part)]
                assert split(left) + split(right) == split(text), f"{name}: {left!r} | {right!r}"
    assert cuts > 5000, cuts
    print(f"{cuts} cuts, {len(PATTERNS)} patterns: each splits the parts as the whole")


def prepare(directory, name, content, *options):
    (directory / name).write_bytes(content)
    out = directory / ("out_" + name)
    subprocess.run([DROVER, "prepare", "--out", out, *options, directory / name], stdout=subprocess.DEVNULL, check=True)
    return documents_of(out)


def random_bytes():
    """Pieces of characters, whole ones, and surrogates' encodings."""
    parts = [bytes([random.choice([0x41, 0x80, 0xbf, 0x90, 0x9f, 0xa0, 0xc0, 0xc2, 0xe0, 0xe1, 0xed, 0xf0, 0xf1, 0xf4, 0xf5, 0xff])]) for _ in range(6)]
    parts += ["é".encode(), "中".encode(), "🐑".encode(), b"plain text ", b"\xed\xa0\x80"]
    return b"".join(random.choices(parts, k=random.randint(1, 30)))


def check_ill_formed(directory):
    text = b"".join(random_bytes() + b" " for _ in range(200000))
    text = text[:3_000_000]
    assert prepare(directory, "a.txt", text, "--invalid-utf8", "replace") == [text.decode("utf-8", "replace").encode()]
    texts = [random_bytes() for _ in range(5000)]
    lines = b"".join(b'{"text": "' + text + b'"}\n' for text in texts)
    assert prepare(directory, "a.jsonl", lines, "--invalid-utf8", "replace") == [text.decode("utf-8", "replace").encode() for text in texts]
    print("ill-formed UTF-8 is replaced as Python does")


def check_records(directory):
    texts = ["".join(random.choices(ALPHABET + ["\\", '"', "\0", "\x1f"], k=random.randint(0, 40))) for _ in range(3000)]
    lines = "".join(json.dumps({"before": {"text": text[::-1]}, "text": text, "after": [text]}, ensure_ascii=i % 2 == 0) + "\n"
                    for i, text in enumerate(texts))
    assert prepare(directory, "b.jsonl", lines.encode()) == [text.encode() for text in texts]
    print("records are read as Python wrote them")


with tempfile.TemporaryDirectory() as scratch:
    check_cuts()
    check_ill_formed(pathlib.Path(scratch))
    check_records(pathlib.Path(scratch))
