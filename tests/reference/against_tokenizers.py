"""Drover's tokenizer and its file's own library, in turn on one thread: median MB/s of each, and their ratio.

    launch/bench_against_tokenizers [--rounds N] TOKENIZER TEXT...

Both see the whole text, in parts of 256 KiB for the library (tiktoken slows down on longer texts), after one round that is not counted. Exits
with 1 when they count another number of ids."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tokenizer_peers

PART = 1 << 18


def cut(text):
    """Parts that begin after a line break and with a character that is not white space: there no word is cut."""
    parts, begin = [], 0
    while begin < len(text):
        end = begin + PART
        while end < len(text) and not (text[end - 1] == "\n" and not text[end].isspace()):
            end += 1
        parts.append(text[begin:end])
        begin = end
    return parts


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown processor"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tokenizer")
    options.add_argument("texts", nargs="+")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--drover", default="build/release/drover")
    given = options.parse_args()
    name, encode = tokenizer_peers.make_peer(given.tokenizer)
    texts = [open(path, encoding="utf-8", newline="").read() for path in given.texts]
    parts, megabytes = [part for text in texts for part in cut(text)], sum(len(text.encode()) for text in texts) / 1e6
    ours, theirs, counts = [], [], set()
    for turn in range(given.rounds + 1):
        begin = time.perf_counter()
        ids = sum(len(encode(part)) for part in parts)
        theirs.append(time.perf_counter() - begin)
        line = subprocess.run([given.drover, "bench", "tokenizer", given.tokenizer, *given.texts, "--threads", "1", "--rounds", "1", "--json"],
                              check=True, capture_output=True, text=True).stdout
        one = json.loads(line)[0]
        ours.append(one["seconds"])
        counts.add((ids, one["ids"]))
        print(f"{'not counted' if turn == 0 else f'round {turn}':12} Drover {megabytes / ours[-1]:6.1f} MB/s   {name} {megabytes / theirs[-1]:6.1f}",
              flush=True)
    rates = [megabytes / statistics.median(seconds[1:]) for seconds in (ours, theirs)]
    print(f"{processor()}, one thread, {megabytes:.1f} MB: Drover {rates[0]:.1f} MB/s, {name} {rates[1]:.1f} MB/s: {rates[0] / rates[1]:.2f} times")
    if any(a != b for a, b in counts):
        sys.exit(f"ids: {counts}: not the same")


if __name__ == "__main__":
    main()
