"""Scores of answers against the evaluation script of SQuAD 2.0, whose functions stand below.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_answers.py
COMPRESS_METRICS_LINES names the helper program (default build/release/bin/metrics_lines).
"""

import collections
import json
import os
import random
import re
import string
import subprocess
import unicodedata
import unittest

HELPER = os.environ.get("COMPRESS_METRICS_LINES", "build/release/bin/metrics_lines")
STRINGS = 10_000


# The script (https://rajpurkar.github.io/SQuAD-explorer/, evaluate-v2.0.py), shortened.
def normalize_answer(s):
    exclude = set(string.punctuation)
    s = "".join(ch for ch in s.lower() if ch not in exclude)
    s = re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", s)
    return " ".join(s.split())


def compute_exact(a_gold, a_pred):
    return int(normalize_answer(a_gold) == normalize_answer(a_pred))


def compute_f1(a_gold, a_pred):
    gold_toks, pred_toks = normalize_answer(a_gold).split(), normalize_answer(a_pred).split()
    common = collections.Counter(gold_toks) & collections.Counter(pred_toks)
    num_same = sum(common.values())
    if len(gold_toks) == 0 or len(pred_toks) == 0:
        return int(gold_toks == pred_toks)
    if num_same == 0:
        return 0
    precision, recall = 1.0 * num_same / len(pred_toks), 1.0 * num_same / len(gold_toks)
    return (2 * precision * recall) / (precision + recall)


def official(answer, answers):
    gold = [text for text in answers if normalize_answer(text)] or [""]
    return max(compute_exact(a, answer) for a in gold), max(compute_f1(a, answer) for a in gold)


def ours(pairs):
    text = "".join(json.dumps({"answer": a, "answers": g}) + "\n" for a, g in pairs)
    done = subprocess.run([HELPER], input=text, stdout=subprocess.PIPE, text=True, check=True,
                          timeout=600)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(int(score["exact"]), score["f1"]) for score in found]


# Characters of many scripts, and those about which Unicode, C and Python may disagree.
BLOCKS = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
          (0x400, 0x52F), (0x531, 0x58F), (0x591, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F),
          (0xE01, 0xE5B), (0x10A0, 0x10FF), (0x13A0, 0x13FD), (0x1E00, 0x1FFE), (0x2000, 0x206F),
          (0x2070, 0x209C), (0x2100, 0x218B), (0x2460, 0x24FF), (0x2C60, 0x2C7F), (0x3000, 0x30FF),
          (0x4E00, 0x4E80), (0xA640, 0xA69D), (0xA722, 0xA7CA), (0xAC00, 0xAC40), (0xFB00, 0xFB06),
          (0xFE50, 0xFE6B), (0xFF01, 0xFF9D), (0x10400, 0x1044F), (0x1D400, 0x1D7FF),
          (0x1E900, 0x1E95F), (0x1F130, 0x1F189)]
ODD = ("\u03a3\u03a3\u03a3\u03c3\u03c2\u0130\u0131I\u1e9e\u00df'\u2019.:\u00b7\u00ad\u0345\u00aa"
       "\u2160\u24b6\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2003\u200b\u200c\u200d\u2028"
       "\u2029\u202f\u205f\u3000\ufeff_-\u201c\u201d\u2013")
WORDS = ["a", "an", "the", "A", "An", "THE", "a", "the", "cat", "Москва", "ΟΔΟΣ", "école"]


def draw_text(rng):
    parts = []
    for _ in range(rng.randrange(1, 9)):
        kind = rng.random()
        if kind < 0.3:
            parts.append(rng.choice(WORDS))
        elif kind < 0.55:
            parts.append("".join(rng.choice(ODD) for _ in range(rng.randrange(1, 3))))
        else:
            low, high = rng.choice(BLOCKS)
            drawn = (chr(rng.randint(low, high)) for _ in range(rng.randrange(1, 5)))
            parts.append("".join(c for c in drawn if unicodedata.category(c) != "Cn"))
        if rng.random() < 0.5:
            parts.append(" ")
    return "".join(parts)


def changed(rng, text):
    """Another text that may well have the same words."""
    kind = rng.randrange(6)
    if kind == 0:
        return text.lower()
    if kind == 1:
        return text.upper()
    if kind == 2:
        return " ".join(text.split())
    if kind == 3:
        return normalize_answer(text)
    if kind == 4:
        return rng.choice(WORDS) + rng.choice([" ", "\u00a0", "-", "\u2013", ""]) + text
    return draw_text(rng)


class Answers(unittest.TestCase):
    def compare(self, pairs):
        wrong = []
        for (answer, answers), (exact, f1) in zip(pairs, ours(pairs), strict=True):
            wanted = official(answer, answers)
            if exact != wanted[0] or abs(f1 - wanted[1]) > 1e-12:
                wrong.append((ascii(answer), ascii(answers), (exact, f1), wanted))
        self.assertEqual(wrong[:10], [], f"{len(wrong)} of {len(pairs)}")

    def test_drawn_texts_of_many_scripts(self):
        rng = random.Random(1)
        pairs = []
        for _ in range(STRINGS):
            text = draw_text(rng)
            pairs.append((text, [changed(rng, text) for _ in range(rng.randrange(1, 3))]))
        matches = [official(*pair) for pair in pairs]
        self.assertGreater(sum(exact for exact, _ in matches), STRINGS // 5)
        self.assertGreater(sum(0 < f1 < 1 for _, f1 in matches), STRINGS // 12)
        self.compare(pairs)

    def test_every_character_that_python_knows(self):
        pairs = []
        for code in range(0x110000):
            c = chr(code)
            # Of the large blocks of one kind of letter, of private and of single surrogates a few.
            if unicodedata.category(c) in ("Cn", "Co", "Cs"):
                continue
            if unicodedata.category(c) == "Lo" and code % 16 and code > 0x3400:
                continue
            pairs.append((c, [c.lower()]))
            pairs.append((f"x{c}y", ["x y"]))            # white space
            pairs.append((f"a{c}", [c]))                 # the end of an article
            pairs.append((f"{c}\u03a3", [f"{c}\u03a3".lower()]))                # cased
            pairs.append((f"b{c}\u03a3{c}", [f"b{c}\u03a3{c}".lower()]))        # ignorable
            pairs.append((f"b\u03a3{c}b", [f"b\u03a3{c}b".lower()]))
        self.assertGreater(len(pairs), 150_000)
        self.compare(pairs)

    def test_answers_of_which_nothing_is_left(self):
        pairs = [("", ["the", "cat"]), ("", ["the"]), ("an", ["!"]), ("", []), ("cat", []),
                 ("the", ["a", ""]), ("cat", ["a", "the cat"])]
        self.compare(pairs)


if __name__ == "__main__":
    unittest.main()
