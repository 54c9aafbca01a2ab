"""Documents of token shards by the bytes tokenizer, read by docs/data_format.md."""
import struct


def tokens_of(directory):
    for path in sorted(directory.glob("*.tokens")):
        data = path.read_bytes()
        count = struct.unpack_from("<Q", data, 96)[0]
        yield from struct.unpack_from(f"<{count}H", data, 256)


def documents_of(directory):
    documents = []
    for token in tokens_of(directory):
        if token == 256:
            documents.append(bytearray())
        elif token < 256:
            documents[-1].append(token)
    return [bytes(document) for document in documents]
