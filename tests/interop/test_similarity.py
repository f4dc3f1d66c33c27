"""Cosines of a sentence model's embeddings, scored as scipy scores those of transformers.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_similarity.py
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress")
MODEL = ROOT / "models/all-MiniLM-L6-v2"
PAIRS = [("A man plays a guitar.", "Someone is playing the guitar.", 4.6, "a"),
         ("A dog runs.", "The stock market fell today.", 0.0, "a"),
         ("Two women are cooking.", "Women cook a meal in the kitchen.", 3.8, "a"),
         ("It rains.", "The weather is wet.", 3.0, "b"),
         ("He sold his car.", "She bought a house by the sea.", 0.8, "b"),
         ("The plane lands.", "A plane is landing.", 4.9, "b"),
         ("Cats sleep.", "A cat is asleep on the sofa, as it is every day.", 3.4, "b")]


def embed(texts):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(MODEL), AutoModel.from_pretrained(MODEL).eval()
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(2)
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


@unittest.skipUnless((MODEL / "model.safetensors").is_file(), "tools/fetch all-MiniLM-L6-v2")
class Similarity(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.temporary.name) / "pairs.tsv"
        self.file.write_text("one\tother\tscore\tset\n" + "".join(
            f"{a}\t{b}\t{score}\t{group}\n" for a, b, score, group in PAIRS), encoding="utf-8")

    def tearDown(self):
        self.temporary.cleanup()

    def run_program(self, *words):
        done = subprocess.run([PROGRAM, *words], cwd=ROOT, text=True, capture_output=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_cosines_and_correlations(self):
        from scipy import stats

        cosines = (embed([a for a, *_ in PAIRS]) * embed([b for _, b, *_ in PAIRS])).sum(1)
        kept = pathlib.Path(self.temporary.name) / "kept.jsonl"
        told = json.loads(self.run_program(
            "evaluate", MODEL, "--data", self.file, "--task", "similarity", "--text", "one",
            "--pair", "other", "--label", "score", "--group", "set", "--batch", "3", "--metrics",
            "spearman,pearson,spearman_mean", "--predictions", kept, "--json"))
        lines = [json.loads(line) for line in kept.read_text().splitlines()]
        for line, cosine, pair in zip(lines, cosines.tolist(), PAIRS):
            self.assertAlmostEqual(line["prediction"], cosine, places=5)
            self.assertAlmostEqual(line["label"], pair[2], places=5)
        ours = [line["prediction"] for line in lines]
        gold = [pair[2] for pair in PAIRS]
        metrics = {metric["name"]: metric for metric in told["metrics"]}
        self.assertAlmostEqual(metrics["spearman"]["value"],
                               stats.spearmanr(ours, gold).statistic, places=9)
        self.assertAlmostEqual(metrics["pearson"]["value"],
                               stats.pearsonr(ours, gold).statistic, places=6)
        halves = [stats.spearmanr(ours[:3], gold[:3]).statistic,
                  stats.spearmanr(ours[3:], gold[3:]).statistic]
        self.assertAlmostEqual(metrics["spearman_mean"]["value"], sum(halves) / 2, places=9)
        self.assertTrue(metrics["spearman"]["signature"].startswith("score:cosine|pooling:"))

    def test_rows_are_tokenised_beforehand(self):
        cache = pathlib.Path(self.temporary.name) / "cache"
        words = ("tokenize", MODEL, "--data", self.file, "--task", "similarity", "--text", "one",
                 "--pair", "other", "--label", "score", "--cache", cache, "--json")
        first, second = (json.loads(self.run_program(*words))[0] for _ in range(2))
        self.assertEqual((first["part"], first["rows"]), ("train", len(PAIRS)))
        self.assertGreater(first["tokens"], 2 * len(PAIRS))
        self.assertEqual(first["cache"], second["cache"])
        self.assertTrue(pathlib.Path(first["cache"]).is_file())


if __name__ == "__main__":
    unittest.main()
