"""The program's metrics equal scikit-learn's and scipy's to 1e-12, degenerate inputs included.

Run from the repository root: .venv/bin/python tests/interop/test_metrics.py
COMPRESS_METRICS_LINES names the helper executable (default build/release/bin/metrics_lines).
"""

import json
import math
import os
import subprocess
import unittest
import warnings

import numpy as np
from scipy import stats
from sklearn import metrics as sk

HELPER = os.environ.get("COMPRESS_METRICS_LINES", "build/release/bin/metrics_lines")
CLASS_NAMES = ["accuracy", "f1_macro", "matthews"]
VALUE_NAMES = ["pearson", "spearman", "mse"]


def run(requests):
    text = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([HELPER], input=text, stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(requests)
    return answers


def classification(classes, labels, num_classes, positive=1):
    names = CLASS_NAMES + (["f1"] if num_classes == 2 else [])
    return {"names": names, "num_classes": num_classes, "positive_class": positive,
            "classes": [int(c) for c in classes], "labels": [int(c) for c in labels]}


def expected_classification(request):
    labels, classes = request["labels"], request["classes"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": sk.accuracy_score(labels, classes),
            "f1_macro": sk.f1_score(labels, classes, average="macro", zero_division=0),
            "matthews": sk.matthews_corrcoef(labels, classes),
        }
        if request["num_classes"] == 2:
            expected["f1"] = sk.f1_score(labels, classes, labels=[request["positive_class"]],
                                         average="macro", zero_division=0)
    return expected


def regression(values, targets):
    return {"names": VALUE_NAMES, "values": [float(v) for v in values],
            "targets": [float(v) for v in targets]}


def expected_regression(request):
    values, targets = request["values"], request["targets"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # scipy refuses a single pair and gives NaN for a constant side; the program reports 0.
        single = len(values) < 2
        pearson = math.nan if single else float(stats.pearsonr(values, targets).statistic)
        spearman = math.nan if single else float(stats.spearmanr(values, targets).statistic)
    return {"pearson": 0.0 if math.isnan(pearson) else pearson,
            "spearman": 0.0 if math.isnan(spearman) else spearman,
            "mse": sk.mean_squared_error(targets, values)}


class Metrics(unittest.TestCase):
    def compare(self, requests, expect):
        for request, answer in zip(requests, run(requests)):
            expected = expect(request)
            with self.subTest(request=str(request)[:200]):
                self.assertIsInstance(answer, list, answer)
                self.assertEqual([m["name"] for m in answer], request["names"])
                for metric in answer:
                    wanted = expected[metric["name"]]
                    error = abs(metric["value"] - wanted) / max(1, abs(wanted))
                    self.assertLessEqual(error, 1e-12, metric["name"])

    def test_random_classes(self):
        rng = np.random.default_rng(1)
        requests = []
        for num_classes in (2, 2, 2, 3, 5, 20):
            for n in (1, 2, 3, 10, 1000):
                labels = rng.integers(0, num_classes, n)
                noisy = np.where(rng.random(n) < 0.6, labels, rng.integers(0, num_classes, n))
                positive = int(rng.integers(0, 2))
                requests.append(classification(noisy, labels, num_classes, positive))
        self.compare(requests, expected_classification)

    def test_degenerate_classes(self):
        cases = [([0, 0, 0], [0, 1, 1], 2), ([1, 1, 1], [0, 1, 1], 2), ([0, 1, 1], [1, 1, 1], 2),
                 ([0, 0], [0, 0], 2), ([1, 1], [1, 1], 2), ([0, 0], [1, 1], 2), ([1, 0], [0, 1], 2),
                 ([2, 2, 2], [0, 1, 2], 3), ([0, 1, 0], [0, 1, 2], 3),
                 ([4, 4], [0, 0], 5), ([0], [1], 3)]
        requests = [classification(c, y, k, p) for c, y, k in cases for p in (0, 1)]
        self.compare(requests, expected_classification)
        constant = run([classification([0, 0, 0], [0, 1, 1], 2)])[0]
        note = {m["name"]: m["note"] for m in constant}["matthews"]
        self.assertIn("constant predictions", note)

    def test_random_values(self):
        rng = np.random.default_rng(2)
        requests = []
        for n in (2, 3, 10, 1000):
            x = rng.normal(size=n)
            requests.append(regression(x, rng.normal(size=n)))
            requests.append(regression(x, 3 * x + rng.normal(size=n)))
            requests.append(regression(x, -x))
            requests.append(regression(1e3 * x + 5e3, np.exp(x)))
            # ties
            requests.append(regression(np.round(2 * x) / 2, np.round(rng.normal(size=n) + x)))
        self.compare(requests, expected_regression)

    def test_degenerate_values(self):
        cases = [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0.1, 0.1, 0.1]), ([2, 2], [2, 2]), ([1], [4]),
                 ([0, 0, 0, 1], [0, 1, 0, 0]), ([0.0, -0.0, 1.0], [1.0, 2.0, 3.0]),
                 ([1, 2], [2, 1]),
                 ([1e-200, 2e-200, 4e-200], [1, 2, 3]), ([1e150, -1e150, 3e150], [1, 2, 3])]
        self.compare([regression(x, y) for x, y in cases], expected_regression)
        note = run([regression([1, 1], [1, 2])])[0][0]["note"]
        self.assertEqual(note, "constant predictions: Pearson undefined, reported as 0")

    def test_perplexity(self):
        rng = np.random.default_rng(3)
        losses = rng.random(500) * 8
        request = {"names": ["perplexity"], "nll_sum": float(losses.sum()), "tokens": 500}
        wanted = float(np.exp(losses.mean()))
        answer = run([request])[0][0]
        self.assertLessEqual(abs(answer["value"] - wanted), 1e-12 * wanted)
        self.assertEqual(answer["n"], 500)

    def test_errors(self):
        empty, unknown, other = run([
            {"names": ["accuracy"], "num_classes": 2},
            {"names": ["f1_makro"], "classes": [0], "labels": [0], "num_classes": 2},
            {"names": ["pearson"], "classes": [0], "labels": [0], "num_classes": 2}])
        self.assertEqual(empty["kind"], "data error")
        self.assertEqual(unknown["kind"], "recipe error")
        self.assertEqual(other["kind"], "recipe error")


class Groups(unittest.TestCase):
    """Sub-sets' correlations (scipy's, by the definition of their means) and questions that are
    right as a whole."""

    def test_means_of_correlations(self):
        rng = np.random.default_rng(5)
        for sizes in ((4,), (3, 30, 200), (750, 750, 459, 750, 399)):
            groups = np.repeat(np.arange(len(sizes)), sizes)
            values = rng.normal(size=len(groups))
            targets = np.round(values + rng.normal(size=len(groups)), 1)
            order = rng.permutation(len(groups))
            found = run([{"names": [f"{r}_{a}" for r in ("spearman", "pearson")
                                    for a in ("mean", "wmean")],
                          "groups": [int(g) for g in groups[order]],
                          "values": list(values[order]), "targets": list(targets[order])}])[0]
            for score in found:
                name, weights = score["name"].split("_")
                correlate = stats.spearmanr if name == "spearman" else stats.pearsonr
                own = [correlate(values[groups == g], targets[groups == g])[0]
                       for g in range(len(sizes))]
                wanted = np.average(own, weights=None if weights == "mean" else sizes)
                self.assertLessEqual(abs(score["value"] - wanted), 1e-12, score)
                self.assertEqual(score["signature"], f"aggregate:{weights}|sets:{len(sizes)}")

    def test_a_constant_sub_set_counts_0(self):
        found = run([{"names": ["pearson_mean"], "groups": [1, 1, 2, 2], "values": [1, 2, 3, 3],
                      "targets": [1, 2, 1, 2]}])[0][0]
        self.assertEqual(found["value"], 0.5)
        self.assertIn("1 of 2 groups", found["note"])

    def test_questions_that_are_right_as_a_whole(self):
        rng = np.random.default_rng(6)
        groups, labels = rng.integers(0, 400, 1500), rng.integers(0, 2, 1500)
        classes = np.where(rng.random(1500) < 0.8, labels, 1 - labels)
        found = run([{"names": ["group_exact_match"], "num_classes": 2,
                      "groups": [int(g) for g in groups], "classes": [int(c) for c in classes],
                      "labels": [int(c) for c in labels]}])[0][0]
        # MultiRC's: a question counts where accuracy over its answers is 1.
        wanted = [sk.accuracy_score(labels[groups == g], classes[groups == g]) == 1
                  for g in set(groups)]
        self.assertLessEqual(abs(found["value"] - np.mean(wanted)), 1e-12)
        self.assertEqual(found["n"], len(wanted))

    def test_places_in_a_vocabulary(self):
        rng = np.random.default_rng(7)
        scores, right = np.round(rng.normal(size=(300, 40)), 1), rng.integers(0, 40, 300)
        above = (scores > scores[np.arange(300), right][:, None]).sum(1)
        smooth = rng.normal(size=(300, 40))
        untied = (smooth > smooth[np.arange(300), right][:, None]).sum(1)
        names = ["vocabulary_precision@1", "vocabulary_precision@10"]
        found = run([{"names": names, "above": [int(a) for a in untied]},
                     {"names": names, "above": [int(a) for a in above]}])
        for score, k in zip(found[0], (1, 10), strict=True):
            wanted = sk.top_k_accuracy_score(right, smooth, k=k, labels=range(40))
            self.assertLessEqual(abs(score["value"] - wanted), 1e-12)
        self.assertGreaterEqual(found[1][0]["value"],
                                sk.top_k_accuracy_score(right, scores, k=1, labels=range(40)))


if __name__ == "__main__":
    unittest.main()
