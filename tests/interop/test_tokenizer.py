"""The WordPiece tokenizer against the `tokenizers` library: ids, segments and offsets.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_tokenizer.py
The helper is build/release/bin/encode_lines, or what COMPRESS_ENCODE_LINES names; the model is
models/all-MiniLM-L6-v2, or what COMPRESS_TOKENIZER_MODEL names.
"""

import json
import os
import random
import subprocess
import tempfile
import unittest
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors

ROOT = Path(__file__).resolve().parents[2]
HELPER = Path(os.environ.get("COMPRESS_ENCODE_LINES", ROOT / "build/release/bin/encode_lines"))
MODEL = Path(os.environ.get("COMPRESS_TOKENIZER_MODEL", ROOT / "models/all-MiniLM-L6-v2"))
SENTENCES = ROOT / "data/hutto"
DOMAINS = ["movie", "product", "editorial", "tweets"]
SENTENCE_COUNT = 23703
ODD_COUNT = 20000


def ours(folder, requests):
    """The helper's answers, one for each request."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([HELPER, folder], input=lines.encode(), stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise AssertionError(f"{HELPER} failed")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(requests):
        raise AssertionError(f"{len(answers)} answers to {len(requests)} requests")
    return answers


def byte_offsets(text):
    """Byte position of every character and of the end."""
    positions, total = [0], 0
    for character in text:
        total += len(character.encode())
        positions.append(total)
    return positions


def theirs(encoding, a, b=None):
    places = [byte_offsets(a), byte_offsets(b if b is not None else "")]
    offsets = [
        [0, 0] if sequence is None else [places[sequence][begin], places[sequence][end]]
        for (begin, end), sequence in zip(encoding.offsets, encoding.sequence_ids)
    ]
    return {
        "ids": encoding.ids,
        "types": encoding.type_ids,
        "offsets": offsets,
        "special": encoding.special_tokens_mask,
    }


def odd_strings(seed, count):
    """Strings that a tokenizer may stumble over."""
    draw = random.Random(seed)
    ranges = [
        (0x20, 0x7E), (0x00, 0x1F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
        (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x11FF), (0x1AB0, 0x1C7F),
        (0x1DC0, 0x1FFF), (0x2000, 0x206F), (0x20A0, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x4EFF),
        (0xAC00, 0xAEFF), (0xE000, 0xE0FF), (0xF900, 0xFFFF), (0x10000, 0x11FFF),
        (0x16F00, 0x1D1FF), (0x1E000, 0x1E9FF), (0x1F000, 0x1FAFF), (0x20000, 0x2FA1F),
        (0xE0000, 0xE01FF), (0x100000, 0x10FFFF),
    ]
    marks = [0x300, 0x301, 0x323, 0x327, 0x345, 0x8D4, 0x93C, 0x94D, 0x1B44, 0x302E, 0x302F, 0xF73,
             0x1D165, 0x1D16D, 0x1E000, 0x1E94A, 0x344, 0x5B0, 0x64B]
    pieces = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[mask]", "[MAS", "##ing", "İ", "ΑΣ",
              "👩‍👩‍👧‍👦", "🏳️‍🌈", "e\u0301\u0323", "שלום", "مرحبا", "日本語", "ﬁ", "ẞ",
              "don't", "\u200b", "\ufeff", "x" * 99, "y" * 100, "z" * 101, "é" * 100, "́a" * 60,
              "한국어", "\u1100\u1161\u11a8", "U.S.A.", "3.14", "\ud55c", "\u2126", "\u212b",
              "\U0001d15e", "\u0958", "\u1f80"]
    spaces = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x0b", "\x85", "\u200d"]

    def character():
        first, last = draw.choice(ranges)
        code_point = draw.randint(first, last)
        return chr(code_point) if not 0xD800 <= code_point <= 0xDFFF else "?"

    def part():
        kind = draw.random()
        if kind < 0.30:
            return "".join(character() for _ in range(draw.randint(1, 8)))
        if kind < 0.45:
            return character() + "".join(chr(draw.choice(marks)) for _ in range(draw.randint(1, 5)))
        if kind < 0.65:
            return draw.choice(pieces)
        if kind < 0.80:
            return draw.choice(spaces)
        return "".join(chr(draw.randint(0x61, 0x7A)) for _ in range(draw.randint(1, 12)))

    return ["".join(part() for _ in range(draw.randint(0, 12))) for _ in range(count)]


class WithHelper(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not HELPER.exists():
            raise AssertionError(f"{HELPER} is missing: build the target encode_lines")

    def compare(self, folder, reference, texts, pairs=None, **options):
        requests = [{"a": text, **options} for text in texts]
        inputs = list(texts)
        if pairs is not None:
            for request, pair in zip(requests, pairs):
                request["b"] = pair
            inputs = list(zip(texts, pairs))
        special = options.get("special", True)
        answers = ours(folder, requests)
        encodings = reference.encode_batch(inputs, add_special_tokens=special)
        for request, answer, encoding in zip(requests, answers, encodings):
            expected = theirs(encoding, request["a"], request.get("b"))
            if answer != expected:
                self.fail(f"{json.dumps(request)}\n ours   {answer}\n theirs {expected}")


class RealModel(WithHelper):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not (MODEL / "tokenizer.json").exists():
            raise AssertionError(f"{MODEL} is missing: run tools/fetch")
        cls.reference = Tokenizer.from_file(str(MODEL / "tokenizer.json"))

    def setUp(self):
        self.reference.no_padding()
        self.reference.no_truncation()

    def sentences(self):
        lines = []
        for domain in DOMAINS:
            path = SENTENCES / f"{domain}.txt"
            if not path.exists():
                self.fail(f"{path} is missing: run tools/fetch")
            lines += path.read_text(encoding="utf-8").split("\n")[:-1]
        self.assertEqual(len(lines), SENTENCE_COUNT)
        return lines

    def test_sentences(self):
        self.compare(MODEL, self.reference, self.sentences())

    def test_sentence_pairs_and_truncation(self):
        lines = self.sentences()
        for limit in (3, 4, 17, 32, 64):
            self.reference.enable_truncation(limit)
            self.compare(MODEL, self.reference, lines[:3000], lines[3000:6000], max_length=limit)
            self.compare(MODEL, self.reference, lines[:1000], max_length=limit)

    def test_odd_strings(self):
        texts = odd_strings(1, ODD_COUNT)
        self.compare(MODEL, self.reference, texts)
        self.compare(MODEL, self.reference, texts[:2000], special=False)
        self.compare(MODEL, self.reference, texts[:2000], texts[2000:4000])
        for limit in (5, 10, 23):
            self.reference.enable_truncation(limit)
            self.compare(MODEL, self.reference, texts[:4000], texts[4000:8000], max_length=limit)
            self.compare(MODEL, self.reference, texts[:2000], texts[2000:4000], max_length=limit,
                         special=False)

    def test_every_code_point(self):
        characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
        # Planes without single characters worth a line each (unassigned or private) share lines.
        single = [c for c in characters if ord(c) < 0x34000 or 0xE0000 <= ord(c) < 0xE1000]
        shared = sorted(set(characters) - set(single))
        rows = [shared[start:start + 64] for start in range(0, len(shared), 64)]
        self.compare(MODEL, self.reference, single)
        self.compare(MODEL, self.reference, [f"a{c}b" for c in single])
        self.compare(MODEL, self.reference, [" ".join(row) for row in rows])
        self.compare(MODEL, self.reference, [" ".join(f"a{c}b" for c in row) for row in rows])

    def test_one_sided_truncation(self):
        texts = odd_strings(2, 4000)
        for strategy in ("only_first", "only_second"):
            self.reference.enable_truncation(20, strategy=strategy)
            requests = [{"a": a, "b": b, "max_length": 20, "truncation": strategy}
                        for a, b in zip(texts[:2000], texts[2000:])]
            errors = 0
            for request, answer in zip(requests, ours(MODEL, requests)):
                a, b = request["a"], request["b"]
                try:
                    expected = theirs(self.reference.encode(a, b), a, b)
                except Exception:
                    self.assertIn("error", answer, request)
                    errors += 1
                    continue
                self.assertEqual(answer, expected, request)
            self.assertGreater(errors, 0)

    def test_decode(self):
        draw = random.Random(3)
        size = self.reference.get_vocab_size()
        rows = [[draw.randrange(size) for _ in range(draw.randint(0, 30))] for _ in range(2000)]
        rows += [self.reference.encode(line).ids for line in self.sentences()[:2000]]
        for skip in (True, False):
            answers = ours(MODEL, [{"decode": row, "skip": skip} for row in rows])
            for row, answer in zip(rows, answers):
                self.assertEqual(answer["text"],
                                 self.reference.decode(row, skip_special_tokens=skip), row)


def small_tokenizer(**normalizer):
    """Single characters of many scripts as pieces, so that what normalisation leaves shows."""
    characters = set()
    for first, last in [(0x00, 0x24F), (0x300, 0x3FF), (0x1100, 0x11FF), (0x1B00, 0x1BFF),
                        (0x1E00, 0x1FFF), (0x3000, 0x30FF), (0x4E00, 0x4EFF), (0xAC00, 0xAEFF),
                        (0x1D100, 0x1D1FF), (0x1E000, 0x1E02F), (0xFFF0, 0xFFFF)]:
        characters |= {chr(c) for c in range(first, last + 1)}
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += sorted(characters) + ["##" + c for c in sorted(characters)] + ["hell", "##llo"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]",
                                           max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


class SmallModels(WithHelper):
    def check(self, tokenizer, texts):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(f"{folder}/tokenizer.json")
            self.compare(folder, tokenizer, texts)
            rows = [tokenizer.encode(text).ids for text in texts[:500]]
            answers = ours(folder, [{"decode": row, "skip": True} for row in rows])
            for row, answer in zip(rows, answers):
                self.assertEqual(answer["text"], tokenizer.decode(row), row)

    def test_every_choice_of_the_normalizer(self):
        texts = odd_strings(4, 2000)
        for clean in (True, False):
            for chinese in (True, False):
                for strip in (True, False, None):
                    for lower in (True, False):
                        with self.subTest(clean=clean, chinese=chinese, strip=strip, lower=lower):
                            self.check(small_tokenizer(
                                clean_text=clean, handle_chinese_chars=chinese,
                                strip_accents=strip, lowercase=lower), texts)

    def test_code_points_without_cleaning(self):
        everything = [chr(c) for c in range(0x30000) if not 0xD800 <= c <= 0xDFFF]
        self.check(small_tokenizer(clean_text=False, strip_accents=False, lowercase=True),
                   everything)
        # Neighbours on both sides, so that canonical ordering shows.
        self.check(small_tokenizer(clean_text=False, strip_accents=True, lowercase=False),
                   [f"\u1b44{c}\u302e" for c in everything])

    def test_added_tokens(self):
        tokenizer = small_tokenizer(lowercase=True)
        tokenizer.add_special_tokens([AddedToken("<s>", special=True, normalized=False),
                                      AddedToken("<s><s>", special=True, normalized=False)])
        tokenizer.add_tokens([
            AddedToken("NEW", normalized=True),
            AddedToken("wörd", normalized=True, single_word=True),
            AddedToken("<l>", normalized=False, lstrip=True),
            AddedToken("<r>", normalized=False, rstrip=True),
            AddedToken("<b>", normalized=True, lstrip=True, rstrip=True),
            AddedToken("Q", normalized=False, single_word=True),
            AddedToken(" ~", normalized=False),
        ])
        draw = random.Random(5)
        parts = ["<s>", "<s", "NEW", "new", "word", "wörd", "WORD", "<l>", "<r>", "<b>", "<B>", "Q",
                 " ~", "~", " ", "\u00a0", "\u3000", "\u0301", "é", "日", "a", "_", "1", "\u200d",
                 "\U00010d40", "\u302e", "."]
        texts = ["".join(draw.choice(parts) for _ in range(draw.randint(0, 9)))
                 for _ in range(10000)]
        self.check(tokenizer, texts)
        self.check(tokenizer, [chr(c) + "Q" for c in range(0x30000) if not 0xD800 <= c <= 0xDFFF])
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(f"{folder}/tokenizer.json")
            for limit in (4, 6, 7):
                tokenizer.enable_truncation(limit)
                self.compare(folder, tokenizer, texts[:4000], texts[4000:8000], max_length=limit)

    def test_vocab_txt(self):
        from transformers import BertTokenizer

        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##s", "É", "e", "wor",
                 "ld",
                 "##ld", "<new>", "日", "."]
        for config in ({}, {"do_lower_case": False}, {"strip_accents": False},
                       {"do_lower_case": False, "tokenize_chinese_chars": False},
                       {"mask_token": "<new>", "pad_token": "[MASK]"}):
            with self.subTest(config=config), tempfile.TemporaryDirectory() as folder:
                Path(folder, "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
                Path(folder, "tokenizer_config.json").write_text(
                    json.dumps({"tokenizer_class": "BertTokenizer", **config}))
                reference = BertTokenizer.from_pretrained(folder)._tokenizer
                self.compare(folder, reference, [
                    "hello worlds HELLO É é É. [MASK] [PAD] <new> 日e日", "Hellos [CLS]world", ""])


if __name__ == "__main__":
    unittest.main()
