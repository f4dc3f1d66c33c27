#!/usr/bin/env python3
"""Sentences per second of WordPiece tokenisation on all cores, beside Hugging Face's tokenizers.

    .venv/bin/python bench/tokenisation.py [--rounds 3] [--repeat 20]

Both encode the 23,703 sentences of data/hutto, --repeat times in one go, with special tokens,
without cutting. Ours is the test program encode_lines (ENCODE_LINES names it; build target of the
tests): its process is timed from start to end, which counts reading the lines and writing the ids,
and the time of the same process with empty input is subtracted. The peer is encode_batch of the
fast BertTokenizer in a warm process, without reading or writing, and encode_batch_fast, which
leaves offsets out. The ids of both are compared first.
"""

import os
import pathlib
import tempfile
import time

import peers

PROGRAM = pathlib.Path(
    os.environ.get("ENCODE_LINES", peers.ROOT / "build/release/bin/encode_lines")
)


class Ours:
    def __init__(self, texts, folder):
        self.count = len(texts)
        self.full, self.empty = pathlib.Path(folder, "lines"), pathlib.Path(os.devnull)
        self.full.write_text("".join(text + "\n" for text in texts), encoding="utf-8")

    def run(self, path):
        with open(path, "rb") as file:
            out, seconds, _ = peers.measured([PROGRAM, peers.MODEL, "--plain"], stdin=file)
        return out, seconds

    def measure(self, _):
        start = self.run(self.empty)[1]
        return self.count / max(1e-9, self.run(self.full)[1] - start)


class Tokenizers:
    def __init__(self, tokenizer, texts, method):
        self.encode, self.texts = getattr(tokenizer, method), texts

    def measure(self, _):
        begin = time.perf_counter()
        self.encode(self.texts)
        return len(self.texts) / (time.perf_counter() - begin)


def main():
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    repeat = {"--repeat": {"type": int, "default": 20, "help": "times that the text is repeated"}}
    options = peers.arguments(__doc__, steps=None, batch=None, more=repeat)
    if not PROGRAM.is_file():
        peers.fail(f"{PROGRAM} is missing: build it (scripts/setup), or name it in ENCODE_LINES")
    files = [peers.ROOT / f"data/hutto/{name}.txt"
             for name in ("movie", "product", "editorial", "tweets")]
    if not all(file.is_file() for file in files):
        peers.fail("data/hutto is missing: tools/fetch hutto")
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(peers.MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    once = [text for file in files
            for text in file.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    texts = once * options.repeat
    with tempfile.TemporaryDirectory() as folder:
        out = Ours(once, folder).run(pathlib.Path(folder, "lines"))[0]
        theirs = [e.ids for e in tokenizer.encode_batch(once)]
        ours = [list(map(int, line.split())) for line in out.removesuffix("\n").split("\n")]
        differ = sum(a != b for a, b in zip(ours, theirs)) + abs(len(ours) - len(theirs))
        tokens = sum(map(len, theirs))
        print(f"{len(once)} sentences, {tokens} tokens; {differ} encoded differently")
        entries = {
            "tokenizers encode_batch": Tokenizers(tokenizer, texts, "encode_batch"),
            "tokenizers encode_batch_fast": Tokenizers(tokenizer, texts, "encode_batch_fast"),
            "compress": Ours(texts, folder),
        }
        found = peers.alternate(entries, None, options.rounds)
    cores = len(os.sched_getaffinity(0))
    peers.table(f"tokenisation, {len(texts)} sentences, {cores} cores, sentences/s", found, 0)
    peers.ratio(found, peer="tokenizers")


if __name__ == "__main__":
    main()
