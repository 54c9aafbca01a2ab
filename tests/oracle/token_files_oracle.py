#!/usr/bin/env python3
"""Token files between Drover and others, in both directions: Megatron's indexed dataset by Megatron's own reader and writer; llm.c's, numpy's
and datatrove's by numpy, as the other side's writer has them.

  token_files_oracle.py DROVER
"""
import json
import pathlib
import random
import struct
import sys
import tempfile
import warnings

import numpy as np

warnings.filterwarnings("ignore")  # of parts of Megatron that are not used here
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder  # noqa: E402

import drover_files  # noqa: E402

VOCAB = 50257
END = 50256


def documents(vocab, count=300, seed=3):
    """Lists of sequences of ids; a document may be long, and of one token."""
    draw = random.Random(seed)
    return [[[draw.randrange(vocab) for _ in range(draw.randint(1, 40))] for _ in range(draw.randint(1, 3))] for _ in range(count)]


def flat(document):
    return [token for sequence in document for token in sequence]


def read_shards(directory):
    """Tokens and the indices at which documents end, of shards of both versions, by docs/data_format.md."""
    tokens, ends, total = [], [], 0
    for path in sorted(pathlib.Path(directory).glob("*.tokens")):
        data = path.read_bytes()
        magic, version, width = struct.unpack_from("<8sII", data, 0)
        count, number = struct.unpack_from("<QQ", data, 96)
        assert magic == b"DROVTOKS" and version in (1, 2), path
        dtype = "<u2" if width == 2 else "<u4"
        if version == 1:
            here, begin = np.frombuffer(data, dtype, count, 256), 256 + (width * count + 7) // 8 * 8
        else:
            offset, size, _, length = struct.unpack_from("<QQqQ", data, 120)
            foreign = pathlib.Path(data[256:256 + length].decode())
            assert foreign.stat().st_size == size, foreign
            here, begin = np.fromfile(foreign, dtype, count, offset=offset), 256 + (length + 7) // 8 * 8
        ends += [int(end) + total for end in np.frombuffer(data, "<u8", number, begin)]
        tokens += here.astype(np.int64).tolist()
        total += count
    return tokens, ends


class Check:
    def __init__(self, drover, directory):
        self.drover, self.directory, self.problems = drover, directory, []

    def run(self, *arguments):
        return drover_files.run([self.drover, *arguments], self.directory)

    def expect(self, what, condition):
        print(f"{'ok' if condition else 'FAILED'}: {what}")
        if not condition:
            self.problems.append(what)

    def imported(self, what, texts, arguments, in_place):
        """`texts`: the documents that must come out, as lists of ids."""
        for options in [[], ["--in-place"]] if in_place else [[]]:
            out = f"in_{what.replace(' ', '_')}{len(options)}"
            self.run("import-tokens", "--out", out, "--vocab", VOCAB, *options, *arguments)
            tokens, ends = read_shards(self.directory / out)
            self.expect(f"{what} {' '.join(options)}: {len(texts)} documents",
                        tokens == flat(texts) and ends == np.cumsum([len(text) for text in texts]).tolist())
            self.expect(f"{what} {' '.join(options)} verifies", "sound" in self.run("data", "verify", out))


def megatron_to_drover(check):
    for dtype in [np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16]:
        written = documents(min(VOCAB, int(np.iinfo(dtype).max) + 1))
        prefix = check.directory / f"megatron_{dtype.__name__}"
        builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=dtype)
        for document in written:
            builder.add_document(np.array(flat(document), dtype), [len(sequence) for sequence in document])
        builder.finalize(f"{prefix}.idx")
        check.imported(f"megatron {dtype.__name__}", [flat(document) for document in written], ["--from", "megatron", prefix],
                       in_place=dtype in (np.int16, np.int32, np.uint16))


def drover_to_megatron(check, directory):
    tokens, ends = read_shards(check.directory / directory)
    check.run("export-tokens", "--to", "megatron", "--out", f"out_{directory}", directory)
    dataset = IndexedDataset(str(check.directory / f"out_{directory}"))
    texts = [tokens[begin:end] for begin, end in zip([0] + ends, ends)]
    check.expect(f"{directory} in Megatron: {len(texts)} documents",
                 len(dataset) == len(texts) and all(dataset[i].tolist() == text for i, text in enumerate(texts)))
    check.expect(f"{directory} in Megatron: each sequence is a document", dataset.document_indices.tolist() == list(range(len(texts) + 1)))
    return dataset


def llmc_file(path, tokens, wide):
    """As https://github.com/karpathy/llm.c/blob/master/dev/data/data_common.py writes them."""
    header = np.zeros(256, np.int32)
    header[:3] = [20240801, 7, len(tokens)] if wide else [20240520, 1, len(tokens)]
    path.write_bytes(header.tobytes() + np.array(tokens, np.uint32 if wide else np.uint16).tobytes())


def llmc(check):
    texts = [[END] + flat(document) for document in documents(END)]  # llm.c's own data begin documents with the end-of-text token
    for wide in [False, True]:
        path = check.directory / f"llmc_{wide}.bin"
        llmc_file(path, flat(texts), wide)
        check.imported(f"llm.c {'uint32' if wide else 'uint16'}", texts, ["--from", "llm.c", "--begin-token", END, path], in_place=True)
    check.run("export-tokens", "--to", "llm.c", "--file-tokens", 5000, "--out", "llmc_out", "data")
    tokens, begin = read_shards(check.directory / "data")[0], 0
    for path in sorted(check.directory.glob("llmc_out_*.bin")):
        part = tokens[begin:begin + 5000]
        llmc_file(check.directory / "expected.bin", part, wide=False)
        check.expect(f"{path.name} is what llm.c writes", path.read_bytes() == (check.directory / "expected.bin").read_bytes())
        begin += len(part)
    check.expect("llm.c's files hold all tokens", begin == len(tokens))


def numpy_files(check):
    texts = [flat(document) + [END] for document in documents(END)]
    for dtype in ["uint16", "uint32", "int64"]:
        # As https://github.com/allenai/OLMo-core/blob/main/docs/source/guides/data_loading.rst makes them: no header, whatever the name says.
        path = check.directory / f"olmo_{dtype}.npy"
        mapped = np.memmap(path, mode="w+", dtype=dtype, shape=(len(flat(texts)),))
        mapped[:] = flat(texts)
        mapped.flush()
        check.imported(f"OLMo {dtype}", texts, ["--from", "numpy", "--dtype", dtype, "--end-token", END, path], in_place=dtype != "int64")
        path = check.directory / f"saved_{dtype}.npy"
        np.save(path, np.array(flat(texts), dtype))
        check.imported(f"numpy {dtype}", texts, ["--from", "numpy", "--end-token", END, path], in_place=dtype != "int64")


def nanotron(check):
    """As https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/tokens/tokenizer.py writes them."""
    texts = [flat(document) for document in documents(VOCAB)]
    for width, letter in [(2, "H"), (4, "I")]:
        path = check.directory / f"datatrove_{width}.ds"
        path.write_bytes(struct.pack(f"<{len(flat(texts))}{letter}", *flat(texts)))
        ends = np.cumsum([len(text) for text in texts]).tolist()
        pathlib.Path(f"{path}.index").write_bytes(struct.pack(f"<{len(ends)}Q", *ends))
        check.imported(f"datatrove {width} without metadata", texts, ["--from", "nanotron", path], in_place=True)
        pathlib.Path(f"{path}.metadata").write_text(f"gpt2|{width}\n{ends[-1]}\n6.2 kT")
        check.imported(f"datatrove {width}", texts, ["--from", "nanotron", path], in_place=True)


def main():
    with tempfile.TemporaryDirectory() as name:
        check = Check(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(name))
        (check.directory / "corpus.jsonl").write_text("".join(json.dumps({"text": "x" * (7 * i % 90)}) + "\n" for i in range(500)))
        check.run("prepare", "--tokenizer", "bytes", "--shard-tokens", 4000, "--out", "data", "corpus.jsonl")
        megatron_to_drover(check)
        check.expect("prepared data are uint16 in Megatron", drover_to_megatron(check, "data").index.dtype == np.uint16)
        check.run("import-tokens", "--from", "megatron", "--vocab", 100000, "--out", "wide", check.directory / "megatron_int32")
        check.expect("4 bytes are int32 in Megatron", drover_to_megatron(check, "wide").index.dtype == np.int32)
        llmc(check)
        numpy_files(check)
        nanotron(check)
    print("\n".join(check.problems) or "every file is read alike by both sides")
    return 1 if check.problems else 0


if __name__ == "__main__":
    sys.exit(main())
