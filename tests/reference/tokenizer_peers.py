"""The Python libraries whose files Drover reads, set up to make ids of text and nothing else: no special token, no truncation."""
import base64
import os

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA4 = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
          r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tokens_of(path):
    """Texts of the file's tokens, those that are whole characters."""
    if str(path).endswith(".model"):
        tokens = [base64.b64decode(line.split()[0]) for line in open(path, "rb")]
        return [token.decode() for token in tokens if b"\xef\xbf\xbd" not in token and token.decode("utf-8", "ignore").encode() == token]
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    texts = (tokenizer.decode([id]) for id in range(tokenizer.get_vocab_size()))
    return [text for text in texts if text and "\ufffd" not in text]


def make_peer(path):
    """(name, text -> ids) of the library that `path` belongs to."""
    if str(path).endswith(".model"):
        import tiktoken
        ranks = {base64.b64decode(word): int(rank) for word, rank in (line.split() for line in open(path, "rb"))}
        pattern = {128000: LLAMA3, 200000: LLAMA4}[len(ranks)]
        encoding = tiktoken.Encoding("peer", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        return "tiktoken " + tiktoken.__version__, encoding.encode_ordinary
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    return "tokenizers " + tokenizers.__version__, lambda text: tokenizer.encode(text, add_special_tokens=False).ids
