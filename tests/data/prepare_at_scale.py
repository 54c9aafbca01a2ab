#!/usr/bin/env python3
"""`drover prepare` on 100 GB, in the memory that 30 GB take (which fill a few shards). Takes minutes, 8 GB of disk under TMPDIR, and no more: what is read is generated.

    tests/data/prepare_at_scale.py DROVER [GIGABYTES]

Two inputs of each size: JSONL, compressed, of words that are a token each; and JSONL that is sparse on disk, whose holes are lines of zeros that
are no records. Prints size, time, peak resident memory (VmHWM), documents and tokens; fails when more of one input takes more memory, or when
a document or token is missing."""
import gzip
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

WORDS, HOLE = 30, 8 << 20  # of a document; of the sparse file, bytes from one document to the next


def prepare(drover, folder, path, size, documents, *options):
    out = folder / "out"
    begin = time.monotonic()
    child = subprocess.Popen([drover, "prepare", "--tokenizer", folder / "tokenizer.json", "--out", out, *options, path], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds, peak = time.monotonic() - begin, usage.ru_maxrss / 1024
    if status != 0:
        sys.exit(said)
    inspected = subprocess.run([drover, "data", "inspect", out], check=True, capture_output=True, text=True).stdout
    found = {what: int(re.search(rf"^{what}\s+([\d,]+)", inspected, re.M).group(1).replace(",", "")) for what in ("documents", "tokens")}
    if found != {"documents": documents, "tokens": documents * (WORDS + 2)}:  # one that begins and one that ends each
        sys.exit(f"{path}: {found}, where {documents} documents of {WORDS} words were written")
    shutil.rmtree(out)
    print(f"{path.name:16} {size / 1e9:6.1f} GB, {os.stat(path).st_blocks * 512 / 1e9:5.2f} on disk: {seconds:5.0f} s, {size / 1e6 / seconds:5.0f} MB/s,"
          f" VmHWM {peak:5.0f} MiB, {documents} documents, {found['tokens']} tokens", flush=True)
    return peak


def main():
    drover, most = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 100
    chance = random.Random(1)
    words = [" " + "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=28)) for _ in range(500)]
    documents = [json.dumps({"text": "".join(chance.choices(words, k=WORDS))}) + "\n" for _ in range(33)]
    text = "".join(documents).encode()  # smaller than gzip's window, so that more of it takes next to nothing
    assert len(text) < 32000
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "words.txt").write_text("".join(words) * 3)
        subprocess.run([drover, "tokenizer", "train", "--vocab", "16000", "--out", folder / "tokenizer.json", folder / "words.txt"], check=True,
                       stdout=subprocess.DEVNULL)
        member, copies = gzip.compress(text * 1000), 1000
        for kind in ("jsonl.gz", "jsonl"):
            peaks = []
            for gigabytes in (0.3 * most, most):
                path = folder / f"{gigabytes:.0f}.{kind}"
                if kind == "jsonl.gz":
                    members = round(gigabytes * 1e9 / (copies * len(text)))
                    with open(path, "wb") as file:
                        for _ in range(members):
                            file.write(member)
                    peaks.append(prepare(drover, folder, path, members * copies * len(text), members * copies * len(documents)))
                else:
                    holes = round(gigabytes * 1e9 / HOLE)
                    with open(path, "wb") as file:
                        for hole in range(holes):
                            file.seek(hole * HOLE)
                            file.write(b"\n" + documents[hole % len(documents)].encode())
                        file.truncate(holes * HOLE)
                    peaks.append(prepare(drover, folder, path, holes * HOLE, holes, "--max-bad", str(2 * holes)))
                path.unlink()
            if peaks[1] > peaks[0] * 1.1 + 32:
                sys.exit(f"{kind}: {peaks[0]:.0f} MiB for {0.3 * most:.0f} GB, {peaks[1]:.0f} MiB for {most:.0f}")


main()
