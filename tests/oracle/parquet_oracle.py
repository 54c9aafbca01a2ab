#!/usr/bin/env python3
"""prepare reads what pyarrow writes: encodings, compressions, pages, row groups, nulls and large strings; and says what is wrong with the others."""
import pathlib
import random
import subprocess
import sys
import tempfile

import pyarrow
import pyarrow.parquet

from shards import documents_of

DROVER = sys.argv[1]
if "without Arrow" in subprocess.run([DROVER, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout:
    print("skipped: this drover was built without Arrow")
    sys.exit(77)
random.seed(5)


def prepare(out, path, *options):
    return subprocess.run([DROVER, "prepare", "--out", out, *options, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def refused(out, path, words, *options):
    said = prepare(out, path, *options)
    assert said.returncode == 4 and all(word in said.stdout for word in words), said


with tempfile.TemporaryDirectory() as name:
    scratch = pathlib.Path(name)
    texts = [f"text {i} é中🐑 " + "x" * random.randint(0, 3000) for i in range(2500)]
    for number, (kind, options) in enumerate([
            (pyarrow.string(), {"compression": "snappy"}),
            (pyarrow.large_string(), {"compression": "zstd", "row_group_size": 700}),
            (pyarrow.string(), {"compression": "gzip", "use_dictionary": False, "data_page_size": 4000}),
            (pyarrow.binary(), {"compression": "none", "data_page_version": "2.0", "row_group_size": 1234}),
            (pyarrow.string(), {"compression": "lz4", "use_dictionary": False, "column_encoding": {"body": "DELTA_BYTE_ARRAY", "id": "PLAIN"}})]):
        path, out = scratch / f"{number}.parquet", scratch / f"out_{number}"
        table = pyarrow.table({"id": list(range(len(texts))), "body": pyarrow.array(texts, kind)})
        pyarrow.parquet.write_table(table, path, **options)
        said = prepare(out, path, "--column", "body")
        assert said.returncode == 0, said
        assert documents_of(out) == [text.encode() for text in texts], (kind, options)
    # The same bytes as of JSONL, and by any number of workers.
    whole = (scratch / "out_1/shard_00000.tokens").read_bytes()
    prepare(scratch / "again", scratch / "1.parquet", "--column", "body", "--workers", "5")
    assert (scratch / "again/shard_00000.tokens").read_bytes() == whole

    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", None, "three"], "n": [1, 2, 3], "list": [["a"], [], ["b"]]}), scratch / "null.parquet")
    refused(scratch / "x", scratch / "null.parquet", ['null.parquet:2: column "text" is null in this row'])
    said = prepare(scratch / "x", scratch / "null.parquet", "--max-bad", "1")
    assert said.returncode == 0 and "2 documents" in said.stdout, said
    refused(scratch / "y", scratch / "null.parquet", ['no column "body"', "text, n, list.list.element"], "--column", "body")
    refused(scratch / "y", scratch / "null.parquet", ['column "n" holds no strings'], "--column", "n")
    refused(scratch / "y", scratch / "null.parquet", ["holds no strings"], "--column", "list.list.element")
    (scratch / "no.parquet").write_bytes(b"PAR1 but nothing more")
    refused(scratch / "y", scratch / "no.parquet", ["no.parquet: damaged Parquet"])
    cut = bytearray((scratch / "2.parquet").read_bytes())
    cut[len(cut) // 3:len(cut) // 3 + 4000] = b"\xff" * 4000
    (scratch / "bent.parquet").write_bytes(cut)
    refused(scratch / "y", scratch / "bent.parquet", ["bent.parquet: damaged Parquet"], "--column", "body")
    print("5 kinds of Parquet give the documents that pyarrow wrote")
