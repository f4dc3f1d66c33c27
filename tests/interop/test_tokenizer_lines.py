"""Ids, offsets and decoded text of every kind of tokenizer on many lines, against the `tokenizers`
library: all sentences, 100,000 package descriptions and glosses, and generated Unicode.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_tokenizer_lines.py
The helper is build/release/bin/encode_lines, or what COMPRESS_ENCODE_LINES names; texts and
tokenizers are those of tools/fetch.
"""

import gc
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece

from tests.interop import test_tokenizer as common
from tests.interop import tokenizer_kinds as kinds
from tests.interop import tokenizer_shipped as shipped
from tests.interop.test_tokenizer_kinds import odd_words

TRAINING_LINES = 1000
LINES = 100_000
ODD_COUNT = 2000
BATCH = 20_000
# Fewer sentences than this may have other ids in SentencePiece itself than in `tokenizers` with its
# model: two cuts of a word may score alike. Texts with more than single spaces between words are
# others in both, and left out.
OTHERS = 11


class Result(NamedTuple):
    counts: np.ndarray   # [N] tokens of each text
    ids: np.ndarray      # [T]
    offsets: np.ndarray  # [U, 2] bytes, of the first U tokens
    texts: list          # [M] decoded, of the first M texts


def write_packed(path, texts):
    encoded = [text.encode() for text in texts]
    with open(path, "wb") as out:
        out.write(np.array([len(encoded), *map(len, encoded)], np.int32).tobytes())
        out.write(b"".join(encoded))


def read_packed(path, count):
    data = Path(path).read_bytes()
    place = 0

    def take(size):
        nonlocal place
        values = np.frombuffer(data, np.int32, size, place)
        place += 4 * size
        return values

    counts = take(count)
    ids = take(counts.sum())
    offsets = take(2 * counts.sum()).reshape(-1, 2)
    ends = place + 4 * count + np.cumsum(take(count))
    starts = [place, *ends[:-1]]
    return Result(counts, ids, offsets, [data[a:b].decode() for a, b in zip(starts, ends)])


def encode(model, texts):
    """What our tokenizer says of texts, all at once."""
    with tempfile.TemporaryDirectory() as folder:
        write_packed(f"{folder}/in", texts)
        with open(f"{folder}/in", "rb") as source, open(f"{folder}/out", "wb") as out:
            subprocess.run([common.HELPER, model, "--packed"], stdin=source, stdout=out, check=True)
        return read_packed(f"{folder}/out", len(texts))


def theirs(reference, texts, encodings, ids_alone):
    ids = [encoding.ids for encoding in encodings]
    counts = np.fromiter(map(len, ids), np.int32, len(ids))
    if ids_alone:
        return Result(counts, np.fromiter(chain.from_iterable(ids), np.int32),
                      np.zeros((0, 2), np.int64), [])
    flat = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
    # Offsets in characters become bytes by the places of all characters of all texts.
    characters = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    widths = 1 + (characters >= 0x80) + (characters >= 0x800) + (characters >= 0x10000)
    places = np.concatenate([[0], np.cumsum(widths)])
    starts = np.concatenate([[0], np.cumsum([len(text) for text in texts])[:-1]])
    starts = np.repeat(starts, counts)[:, None]
    offsets = places[starts + np.fromiter(flat, np.int64).reshape(-1, 2)] - places[starts]
    return Result(counts, np.fromiter(chain.from_iterable(ids), np.int32), offsets,
                  reference.decode_batch(ids))


class WithLines(common.WithHelper):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for path in (kinds.SENTENCES, kinds.DESCRIPTIONS, kinds.GLOSSES):
            if not path.exists():
                if path != kinds.SENTENCES and shutil.which("apt-get") is None:
                    raise unittest.SkipTest(f"{path.name} comes through apt, which is not here")
                raise AssertionError(f"{path} is missing: run tools/fetch")
        cls.sentences = kinds.sentences()
        cls.training = cls.sentences[::len(cls.sentences) // TRAINING_LINES]
        cls.descriptions, cls.glosses = kinds.descriptions()[:LINES], kinds.glosses()
        cls.odd = common.odd_strings(61, ODD_COUNT) + odd_words(62, ODD_COUNT)
        gc.disable()  # millions of offsets make it run, and nothing here forms cycles
        cls.addClassCleanup(gc.enable)

    def texts(self, share):
        """`share`, from 0 to 1, tells where in the glosses a kind begins to read, so that the kinds
        together read all."""
        first = int(share * len(self.glosses))
        some = (self.glosses + self.glosses)[first:first + LINES - len(self.descriptions)]
        return self.sentences + self.odd + self.descriptions + some

    def check(self, model, reference, texts, sentencepiece_ids=None, whole=None):
        """Compares ids, and of the first `whole` texts (None: of all) offsets and decoded text as
        well. Returns what we say."""
        whole = len(texts) if whole is None else whole
        starts = [*range(0, whole, BATCH), *range(whole, len(texts), BATCH), len(texts)]
        batches = [texts[start:end] for start, end in zip(starts, starts[1:])]
        ids_alone = [start >= whole for start in starts]

        def encode_batch(batch, fast):
            return (reference.encode_batch_fast if fast else reference.encode_batch)(batch)

        with ThreadPoolExecutor(2) as ahead:
            said = ahead.submit(encode, model, texts)
            parts = [theirs(reference, batch, encodings, fast) for batch, encodings, fast
                     in zip(batches, ahead.map(encode_batch, batches, ids_alone), ids_alone)]
            ours = said.result()
        expected = Result(*(np.concatenate(field) for field in list(zip(*parts))[:3]),
                          list(chain.from_iterable(part.texts for part in parts)))
        self.assert_equal(texts, ours, expected)
        if sentencepiece_ids is not None:
            rows = np.split(ours.ids, np.cumsum(ours.counts[:len(self.sentences)]))
            others = [text for text, row, ids
                      in zip(self.sentences, rows, sentencepiece_ids(self.sentences))
                      if row.tolist() != ids and text == " ".join(text.split())]
            self.assertLess(len(others), OTHERS, others)
        return ours

    def assert_equal(self, texts, ours, expected):
        ends = np.cumsum(expected.counts)
        if not np.array_equal(ours.counts, expected.counts):
            first = np.flatnonzero(ours.counts != expected.counts)[0]
        else:
            same = ours.ids == expected.ids
            placed = len(expected.offsets)
            same[:placed] &= (ours.offsets[:placed] == expected.offsets).all(axis=1)
            wrong = [np.searchsorted(ends, np.flatnonzero(~same)[0], "right")] if not \
                same.all() else []
            wrong += [i for i, pair in enumerate(zip(ours.texts, expected.texts))
                      if pair[0] != pair[1]][:1]
            if not wrong:
                return
            first = min(wrong)
        said = [f"text {first} of {len(texts)}: {texts[first]!r}"]
        for who, result in (("ours", ours), ("theirs", expected)):
            end = np.cumsum(result.counts)[first]
            row = slice(end - result.counts[first], end)
            said.append(f"{who:7}{result.ids[row].tolist()} {result.offsets[row].tolist()} "
                        f"{result.texts[first]!r}")
        self.fail("\n".join(said))


class Lines(WithLines):
    pass


def trained(kind):
    def make(folder, lines):
        tokenizer = kind(lines)
        tokenizer.save(f"{folder}/tokenizer.json")
        return folder, tokenizer
    return make


def from_files(kind):
    def make(folder, lines):
        return folder, kind(folder, lines)
    return make


def from_package(kind):
    def make(folder, _):
        return kind(folder)
    return make


# What follows SentencePiece's own ids.
ENDS = {"t5_files": [1], "llama_files": [], "mistral": [], "j2": []}
# Trained kinds that another one stands for: a shipped one, or roberta.
LEFT_OUT = [kinds.gpt2, kinds.smollm, kinds.roberta_with_prefix]
ALL = [*((kind.__name__, from_package(kind)) for kind in shipped.SHIPPED),
       *((kind.__name__, trained(kind)) for kind in kinds.KINDS if kind not in LEFT_OUT),
       *((kind.__name__, from_files(kind)) for kind in kinds.FILES)]


def add_kind(name, make, share):
    def test(self):
        with tempfile.TemporaryDirectory() as folder:
            path, reference = make(folder, self.training)
            sentencepiece_ids = None
            if name in ENDS:
                processor = sentencepiece.SentencePieceProcessor(
                    model_file=str(next(Path(path).glob("*.model"))))

                def sentencepiece_ids(texts):
                    return [ids + ENDS[name] for ids in processor.encode(texts, num_threads=2)]
            self.check(path, reference, self.texts(share), sentencepiece_ids)
    setattr(Lines, f"test_{name}", test)


for number, (each, maker) in enumerate(ALL):
    add_kind(each, maker, number / len(ALL))


if __name__ == "__main__":
    unittest.main()
