"""The program's ranking metrics equal scikit-learn's nDCG and average precision, trec_eval's rules
written down once more, and, where scores are equal, the mean over all orders of the tied rows.

Run from the repository root: .venv/bin/python tests/interop/test_ranking.py
COMPRESS_METRICS_LINES names the helper executable (default build/release/bin/metrics_lines).
"""

import itertools
import json
import os
import subprocess
import unittest

import numpy as np
from sklearn import metrics as sk

HELPER = os.environ.get("COMPRESS_METRICS_LINES", "build/release/bin/metrics_lines")
NAMES = ["map", "mrr", "mrr@10", "precision@1", "precision@5", "recall@1", "recall@5", "ndcg",
         "ndcg@3", "ndcg@10"]


def run(requests):
    text = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([HELPER], input=text, stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def request(queries, names=NAMES):
    """Queries are lists of (score, relevance); their rows are written in turns."""
    rows = [(number, score, relevance) for number, query in enumerate(queries)
            for score, relevance in query]
    rows.sort(key=lambda row: hash((row[1], row[0])))
    return {"names": names, "groups": [int(r[0]) for r in rows],
            "scores": [float(r[1]) for r in rows], "relevance": [float(r[2]) for r in rows]}


def of_order(relevance, name):
    """One metric of one query whose rows are in this order: the rules of trec_eval."""
    base, _, at = name.partition("@")
    cut = int(at) if at else len(relevance)
    found = [r > 0 for r in relevance]
    if base == "map":
        return sum(sum(found[:i + 1]) / (i + 1) for i in range(len(found)) if found[i]) / sum(found)
    if base == "mrr":
        return next((1 / (i + 1) for i in range(min(cut, len(found))) if found[i]), 0.0)
    if base == "precision":
        return sum(found[:cut]) / cut
    if base == "recall":
        return sum(found[:cut]) / sum(found)
    gain = sum(r / np.log2(i + 2) for i, r in enumerate(relevance[:cut]))
    best = sum(r / np.log2(i + 2) for i, r in enumerate(sorted(relevance, reverse=True)[:cut]))
    return gain / best


def expected(queries, name):
    """The mean over queries with a relevant row; each the mean over the orders of tied rows."""
    values = []
    for query in queries:
        if not any(relevance > 0 for _, relevance in query):
            continue
        ties = {}
        for score, relevance in query:
            ties.setdefault(score, []).append(relevance)
        orders = [sum(order, ()) for order in itertools.product(
            *(set(itertools.permutations(ties[s])) for s in sorted(ties, reverse=True)))]
        # Equal rows make equal orders, each as often as the others.
        values.append(sum(of_order(order, name) for order in orders) / len(orders))
    return sum(values) / len(values) if values else 0.0


def answers(rng, questions, levels=2, ties=False):
    """Shaped as WikiQA's: 1 to 30 candidates, most questions with one answer, many with none."""
    queries = []
    for _ in range(questions):
        rows = int(rng.integers(1, 31)) if not ties else int(rng.integers(1, 8))
        relevance = np.zeros(rows, dtype=int)
        for _ in range(int(rng.choice([0, 1, 1, 1, 2, 3]))):
            relevance[rng.integers(rows)] = rng.integers(1, levels)
        scores = rng.integers(0, 4, rows) / 4 if ties else rng.permutation(rows) + rng.random()
        queries.append(list(zip(scores.tolist(), relevance.tolist())))
    return queries


class Ranking(unittest.TestCase):
    def compare(self, queries, names=NAMES):
        for metric in run([request(queries, names)])[0]:
            wanted = expected(queries, metric["name"])
            self.assertLessEqual(abs(metric["value"] - wanted), 1e-12, (metric, wanted))
            scored = sum(any(r > 0 for _, r in query) for query in queries)
            self.assertEqual(metric["n"], scored)

    def test_real_shape(self):
        rng = np.random.default_rng(1)
        for _ in range(5):
            self.compare(answers(rng, 243))

    def test_ties(self):
        rng = np.random.default_rng(2)
        for _ in range(20):
            self.compare(answers(rng, 20, ties=True))

    def test_grades(self):
        rng = np.random.default_rng(3)
        self.compare(answers(rng, 100, levels=5))
        self.compare(answers(rng, 30, levels=4, ties=True))

    def test_degenerate(self):
        cases = [[[(0.5, 1)]], [[(0.5, 0)]], [[(0.5, 1), (0.5, 0)]], [[(1, 1), (1, 1), (1, 1)]],
                 [[(0, 0), (1, 0)], [(1, 1), (0, 0)]], [[(1e-300, 1), (2e-300, 0)]],
                 [[(-1e300, 1), (1e300, 0)]], [[(0.0, 1), (-0.0, 0)]]]
        for case in cases:
            self.compare(case)

    def test_scikit_learn(self):
        rng = np.random.default_rng(4)
        for ties in (False, True):
            queries = [q for q in answers(rng, 200, levels=4, ties=ties)
                       if len(q) > 1 and any(r > 0 for _, r in q)]
            values = {m["name"]: m["value"] for m in run([request(queries)])[0]}
            for name, k in (("ndcg", None), ("ndcg@3", 3), ("ndcg@10", 10)):
                wanted = np.mean([sk.ndcg_score([[r for _, r in q]], [[s for s, _ in q]], k=k)
                                  for q in queries])
                self.assertLessEqual(abs(values[name] - wanted), 1e-12, name)
        # Without ties only: scikit-learn's average precision takes tied rows as one.
        queries = [q for q in answers(rng, 200) if any(r > 0 for _, r in q)]
        wanted = np.mean([sk.average_precision_score([int(r > 0) for _, r in q],
                                                     [s for s, _ in q]) for q in queries])
        self.assertLessEqual(abs(run([request(queries)])[0][0]["value"] - wanted), 1e-12)

    def test_notes_and_errors(self):
        ok, none, negative, short = run([
            request([[(1, 1), (0, 0)], [(1, 0)]], ["map"]), request([[(1, 0)]], ["map"]),
            request([[(1, -1)]], ["map"]),
            {"names": ["map"], "groups": [1, 1], "scores": [1], "relevance": [1]}])
        self.assertIn("1 of 2 queries have no relevant row and are left out; counted as 0, it "
                      "would be 0.5000", ok[0]["note"])
        self.assertIn("no query has a relevant row", none[0]["note"])
        self.assertEqual(negative["kind"], "data error")
        self.assertIn("error", short)


if __name__ == "__main__":
    unittest.main()
