"""The program's metrics of label sets equal scikit-learn's, its thresholds for no answer those of
SQuAD 2.0's evaluation script.

Run from the repository root: .venv/bin/python tests/interop/test_label_sets.py
COMPRESS_METRICS_LINES names the helper executable (default build/release/bin/metrics_lines).
"""

import json
import os
import subprocess
import unittest

import numpy as np
from sklearn import metrics as sk

HELPER = os.environ.get("COMPRESS_METRICS_LINES", "build/release/bin/metrics_lines")


def run(requests):
    text = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([HELPER], input=text, stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


class LabelSets(unittest.TestCase):
    def compare(self, tables):
        names = ["f1_micro", "f1_macro", "subset_accuracy", "lrap"]
        found = run([{"names": names, "width": given.shape[1], "given": given.ravel().tolist(),
                      "chosen": (scores > 0).astype(int).ravel().tolist(),
                      "set_scores": scores.ravel().tolist()} for given, scores in tables])
        for (given, scores), entries in zip(tables, found, strict=True):
            chosen = (scores > 0).astype(int)
            wanted = [sk.f1_score(given, chosen, average="micro", zero_division=0),
                      sk.f1_score(given, chosen, average="macro", zero_division=0),
                      sk.accuracy_score(given, chosen),
                      sk.label_ranking_average_precision_score(given, scores)]
            for entry, value in zip(entries, wanted, strict=True):
                self.assertAlmostEqual(entry["value"], value, delta=1e-12, msg=entry["name"])
                self.assertEqual(entry["n"], len(given))

    def test_random_tables(self):
        rng = np.random.default_rng(1)
        tables = []
        for _ in range(200):
            shape = rng.integers(1, 40), rng.integers(2, 12)
            tables.append(((rng.random(shape) < rng.random()).astype(int), rng.normal(size=shape)))
        self.compare(tables)

    def test_tied_scores(self):
        rng = np.random.default_rng(2)
        self.compare([((rng.random((20, 6)) < 0.4).astype(int),
                       rng.integers(-1, 2, size=(20, 6)).astype(float)) for _ in range(100)])

    def test_degenerate_tables(self):
        none, every = np.zeros((3, 4), int), np.ones((3, 4), int)
        flat = np.full((3, 4), 0.5)
        self.compare([(none, flat), (every, flat), (none, -flat), (every, -flat),
                      (np.eye(3, 4, dtype=int), flat), (np.eye(3, 4, dtype=int), 0 * flat)])


# The script (https://rajpurkar.github.io/SQuAD-explorer/, evaluate-v2.0.py), shortened: `preds` are
# never empty here.
def find_best_thresh(scores, na_probs, has_ans):
    cur = best = sum(not has for has in has_ans)
    thresh = 0.0
    for i in sorted(range(len(scores)), key=lambda i: na_probs[i]):
        cur += scores[i] if has_ans[i] else -1
        if cur > best:
            best, thresh = cur, na_probs[i]
    return best / len(scores), thresh


class Thresholds(unittest.TestCase):
    def test_best_thresholds_are_the_scripts(self):
        rng = np.random.default_rng(3)
        names = ["exact_match", "answer_f1", "best_exact", "best_f1", "has_answer_exact",
                 "has_answer_f1", "no_answer_exact", "no_answer_f1"]
        requests, wanted, thresholds = [], [], []
        for trial in range(200):
            n = int(rng.integers(1, 40))
            has = (rng.random(n) < [0.0, 0.5, 1.0][trial % 3]).astype(int).tolist()
            odds = np.round(rng.normal(size=n), trial % 2 + 1).tolist()  # with ties
            exact = [float(h and x) for h, x in zip(has, rng.integers(0, 2, size=n).tolist())]
            f1 = [float(max(e, h * x)) for h, e, x in zip(has, exact, rng.random(n).tolist())]
            now = [[float(not h) if o > 0 else s for h, s, o in zip(has, scores, odds)]
                   for scores in (exact, f1)]
            requests.append({"names": names, "exact": now[0], "f1": now[1], "has_answer": has,
                             "null_odds": odds, "best_exact": exact, "best_f1": f1})
            split = [[s for s, h in zip(scores, has) if h == side] for side in (1, 0)
                     for scores in now]
            wanted.append([np.mean(now[0]), np.mean(now[1]), find_best_thresh(exact, odds, has)[0],
                           find_best_thresh(f1, odds, has)[0],
                           *(np.mean(part) if part else 0 for part in split)])
            thresholds.append(find_best_thresh(exact, odds, has)[1])
        for found, values, threshold in zip(run(requests), wanted, thresholds, strict=True):
            for entry, value in zip(found, values, strict=True):
                self.assertAlmostEqual(entry["value"], value, delta=1e-12, msg=entry["name"])
            told = float(found[2]["note"].split("more than ")[1].split(" ")[0])
            self.assertEqual(told, threshold)


if __name__ == "__main__":
    unittest.main()
