"""Every kind of tokenizer.json against the `tokenizers` library: ids, segments, offsets, cuts and
decoded text of pairs and odd strings. test_tokenizer_lines.py reads many lines.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_tokenizer_kinds.py
The helper is build/release/bin/encode_lines, or what COMPRESS_ENCODE_LINES names.
"""

import random
import subprocess
import tempfile
import unittest

from tests.interop import test_tokenizer as common
from tests.interop import tokenizer_kinds as kinds

TRAINING_LINES = 2000
ODD_COUNT = 400


class Kinds(common.WithHelper):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sentences = kinds.sentences()
        cls.odd = common.odd_strings(11, ODD_COUNT) + odd_words(12, ODD_COUNT)

    def check(self, tokenizer):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(f"{folder}/tokenizer.json")
            for some in (self.sentences[::40], self.odd):
                self.compare(folder, tokenizer, some)
                self.compare(folder, tokenizer, some[:250], some[250:500])
                self.compare(folder, tokenizer, some[:250], special=False)
            short = [text for text in self.odd if len(text) < 60][::8]
            half = len(short) // 2
            for limit in (4, 5, 11):
                tokenizer.enable_truncation(limit)
                self.compare(folder, tokenizer, short, max_length=limit)
                self.compare(folder, tokenizer, short[:half], short[half:2 * half],
                             max_length=limit)
            tokenizer.no_truncation()
            self.check_decoding(folder, tokenizer)

    def check_decoding(self, folder, tokenizer):
        draw = random.Random(13)
        size = tokenizer.get_vocab_size()
        rows = [[draw.randrange(size) for _ in range(draw.randint(1, 30))] for _ in range(400)]
        texts = self.odd + self.sentences[::60]
        rows += [encoding.ids for encoding in tokenizer.encode_batch(texts) if encoding.ids]
        for skip in (True, False):
            answers = common.ours(folder, [{"decode": row, "skip": skip} for row in rows])
            for row, answer in zip(rows, answers):
                expected = tokenizer.decode(row, skip_special_tokens=skip)
                self.assertEqual(answer["text"], expected, (row, skip))


def odd_words(seed, count):
    """English with what tokenizers of words stumble over."""
    draw = random.Random(seed)
    pieces = ["don't", "DON'T", "I'LL", "we've", "it'ſ", "'s", "''", "x'", "  ", "   ", " ", "\n",
              "\n\n", " \n ", "\r\n", "\t", "\u00a0", "\u3000", "1234567", "3.14", "½", "٣٤", "Ⅷ",
              "▁", "▁▁", "Ġ", "Ċ", "é", "e\u0301", "naïve", "ＦＵＬＬ", "ﬁ", "日本語", "한국어",
              "🙂", "👩‍👩‍👧", "<s>", "</s>", "<unk>", "<mask>", " <mask> ", "<|endoftext|>",
              "<|im_start|>", "<tool_call>", "<0x41>", "hello", "World", "the", ".", "!?", "...",
              "—", "’s", "\u2028", "\x00", "\x07", "\u200b", "\ufeff", "\ufffd", "𓀀", "\U000323af",
              "\u1c89", "a" * 70, "ab" * 40, "ᄒ", "\u1161", "\u0e33", "\u0958", "\u0344", "ñ" * 33]
    return ["".join(draw.choice(pieces) for _ in range(draw.randint(1, 9))) for _ in range(count)]


def ids_of(folder, lines):
    """The ids of every line, as the helper prints them."""
    text = "".join(line + "\n" for line in lines).encode()
    done = subprocess.run([common.HELPER, folder, "--plain"], input=text, stdout=subprocess.PIPE,
                          check=True)
    return done.stdout.decode().split("\n")[:-1]


def add_kind(kind):
    def test(self):
        lines = self.sentences[::len(self.sentences) // TRAINING_LINES]
        self.check(kind(lines))
    setattr(Kinds, f"test_{kind.__name__}", test)


for each in kinds.KINDS:
    add_kind(each)


if __name__ == "__main__":
    unittest.main()
