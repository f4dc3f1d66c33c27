"""The program's metrics of written texts equal rouge-score's and sacrebleu's, its stemmer NLTK's.

Run from the repository root: .venv/bin/python tests/interop/test_texts.py
COMPRESS_METRICS_LINES names the helper executable (default build/release/bin/metrics_lines).
"""

import json
import os
import pathlib
import random
import subprocess
import unittest

from nltk.stem.porter import PorterStemmer
from nltk.translate import meteor_score
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

HELPER = os.environ.get("COMPRESS_METRICS_LINES", "build/release/bin/metrics_lines")
ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
NAMES = [*ROUGE, *(name + "_stem" for name in ROUGE), "bleu", "chrf", "distinct@1", "distinct@2",
         "meteor_exact"]

# Texts that a tokenizer may trip over.
ODD = ["", " ", "\n", ".", "a", "A.", "1,000.5", "3.14.15", "a,b", "1-2", "x-1-y", "5-", "-5",
       "...", "&quot;a&quot; &amp;lt; &lt;b&gt;", "<skipped>x", "<skip<skipped>ped>",
       "end-\nof line", "don't", "can't. won't!", "U.S.A.", "e.g., this",
       "\u00e9t\u00e9 \u212aelvin \u0130x", "_a_b", "\u4f60\u597d \u4e16\u754c",
       "a\u00a0b\u2003c\u001fd", "a/b\\c", "{x}[y]~`z", "10%", "$5.50", "\U0001f600 smile",
       "skies dying news happily generalizations", "yyyy yes eyed"]
ENDS = ("ational tional enci anci izer bli alli entli eli ousli ization ation ator alism "
        "iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical "
        "ful ness al ance ence er ic able ible ant ement ment ent sion tion ou ism ate iti ous "
        "ive ize sses ies ss s eed ed ing ied y e ll at bl iz dd tt zz").split()


def run(requests):
    text = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([HELPER], input=text, stdout=subprocess.PIPE, text=True, check=True,
                          timeout=300)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rouge(written, references, kind, stem):
    scorer = rouge_scorer.RougeScorer([kind], use_stemmer=stem)
    values = [scorer.score_multi(given, text)[kind].fmeasure
              for text, given in zip(written, references, strict=True)]
    return sum(values) / len(values)


def distinct(written, n):
    runs = [tuple(words[i:i + n]) for words in map(str.split, written)
            for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def meteor(text, reference):
    """NLTK's single_meteor_score with the words of its exact_match alone."""
    words, given = text.split(), reference.split()
    matches = sorted(meteor_score.exact_match(words, given)[0])
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(words), len(matches) / len(given)
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    # pylint: disable-next=protected-access
    return (1 - 0.5 * (meteor_score._count_chunks(matches) / len(matches))**3) * mean


def expected(written, references):
    values = {name + tail: (rouge(written, references, kind, stem), None)
              for name, kind in ROUGE.items() for tail, stem in (("", False), ("_stem", True))}
    # sacrebleu takes references by their place; None where a text has no such one.
    most = max(map(len, references))
    streams = [[given[i] if i < len(given) else None for given in references] for i in range(most)]
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        score = metric.corpus_score(written, streams).score
        values[name] = (score, metric.get_signature().format())
    for n in (1, 2):
        values[f"distinct@{n}"] = (distinct(written, n), None)
    scores = [max(meteor(text, one) for one in given)
              for text, given in zip(written, references, strict=True)]
    values["meteor_exact"] = (sum(scores) / len(scores), None)
    return values


def draw_text(rng, words, most=12):
    parts = [rng.choice(words) if rng.random() < 0.85 else rng.choice(ODD)
             for _ in range(rng.randrange(most))]
    return rng.choice([" ", " ", "  ", ", "]).join(parts)


class Texts(unittest.TestCase):
    def compare(self, corpora):
        found = run([{"names": NAMES, "written": w, "references": r} for w, r in corpora])
        for (written, references), scores in zip(corpora, found, strict=True):
            wanted = expected(written, references)
            for score in scores:
                value, signature = wanted[score["name"]]
                self.assertLessEqual(abs(score["value"] - value), 1e-12 * max(1, abs(value)),
                                     (score, value, ascii(written)[:500], ascii(references)[:500]))
                self.assertEqual(score["n"], len(written))
                if signature is not None:
                    self.assertEqual(score["signature"], signature)
                self.assertNotEqual(score["signature"], "")

    def test_odd_texts_alone_and_together(self):
        corpora = [([a], [[b]]) for a in ODD for b in ODD]
        corpora.append((ODD, [[text] for text in ODD]))
        corpora.append((ODD, [[text] for text in reversed(ODD)]))
        self.compare(corpora)

    def test_drawn_texts_with_several_references(self):
        rng = random.Random(1)
        words = "the cat sat on mats running national relational happy 12 3.5 The CAT".split()
        corpora = []
        for _ in range(300):
            rows = rng.randrange(1, 6)
            written = [draw_text(rng, words) for _ in range(rows)]
            references = [[draw_text(rng, words) for _ in range(rng.randrange(1, 4))]
                          for _ in range(rows)]
            corpora.append((written, references))
        self.compare(corpora)

    def test_real_texts(self):
        text = pathlib.Path("docs/design.md").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if len(line) > 20]
        rng = random.Random(2)
        changed = []
        for line in lines:
            words = line.split(" ")
            words[rng.randrange(len(words))] = rng.choice(words)
            changed.append(" ".join(words))
        self.compare([(changed, [[line] for line in lines]),
                      (lines[1:], [[line, lines[0]] for line in lines[:-1]])])

    # One word a text, so that ROUGE-1 is 1 where the stems are the same and 0 elsewhere: of each
    # word beside its stem where that is its own, and beside the next word.
    def test_stems_are_nltks(self):
        stemmer = PorterStemmer()
        rng = random.Random(3)
        words = {word for path in pathlib.Path("docs").glob("*.md")
                 for word in path.read_text(encoding="utf-8").lower().split()
                 if word.isascii() and word.isalnum()}
        for _ in range(20_000):
            stem = "".join(rng.choice("abceilosty") for _ in range(rng.randrange(1, 6)))
            words.add(stem + rng.choice(ENDS) + rng.choice(["", "", rng.choice(ENDS)]))
        words |= set("sky skies dying lying tying news innings inning outings outing cannings "
                     "canning howe proceed exceed succeed".split())
        words = sorted(word for word in words if len(word) > 3)
        stem = stemmer.stem
        pairs = [(word, stem(word)) for word in words
                 if len(stem(word)) <= 3 or stem(stem(word)) == stem(word)]
        self.assertGreater(len(pairs), 10_000)
        pairs += list(zip(words, words[1:]))
        found = run([{"names": ["rouge_1_stem"], "written": [a], "references": [[b]]}
                     for a, b in pairs])
        wrong = [pair for pair, score in zip(pairs, found, strict=True) if score[0]["value"] != (
            stem(pair[0]) == (stem(pair[1]) if len(pair[1]) > 3 else pair[1]))]
        self.assertEqual(wrong[:10], [])

    def test_nothing_to_score_is_refused(self):
        found = run([{"names": ["bleu"], "written": [], "references": []}])
        self.assertEqual(found[0]["kind"], "data error")


if __name__ == "__main__":
    unittest.main()
