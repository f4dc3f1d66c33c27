"""Stages that measure, annotate and write, on real models; mistakes of later stages.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_stages.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import json
import time
import unittest

from tests.support.program import ROOT, Case


HEAD = """\
name: test
data:
  reviews:
    train: data/movies/train.tsv
    validation: data/movies/dev.tsv
    text: sentence
    label: label
    limit: 48
"""
SILVER = """\
  silver:
    train: {stage: label}
    text: text
    soft_labels: [negative, positive]
"""
TEACHER = """\
stages:
  - name: teacher
    train:
      model: models/all-MiniLM-L6-v2
      data: reviews
      for: 6 steps
      batch: 8
      precision: float32
"""
CHAIN = HEAD + SILVER + TEACHER + """\
  - name: layers
    measure: {model: models/all-MiniLM-L6-v2, data: reviews}
  - name: label
    annotate: {model: teacher, data: reviews}
  - name: student
    train:
      model: {from: models/all-MiniLM-L6-v2, drop_layers: {strategy: top, keep: 1}}
      data: silver
      for: 4 steps
      batch: 8
      precision: float32
  - name: write
    generate:
      model: models/SmolLM2-135M-Instruct
      prompt: "A review: the film"
      count: 4
      sample: true
      top_p: 0.9
      max_new_tokens: 8
expect:
  - {stage: layers, number: layers.0, at_most: 1}
"""
MISSPELT = HEAD + TEACHER + """\
  - name: sparse
    train:
      model: teacher
      data: reviews
      for: 6 steps
      pruning: {magnitude: {sparsity: 50%, targets: [atention]}}
"""


# A masked LM that also tells polarity and, behind a layer of its own, which tokens were changed.
HEADS = HEAD + """\
stages:
  - name: many
    train:
      model:
        from: models/all-MiniLM-L6-v2
        head: masked_lm
        heads: {polarity: classification, detect: {kind: replaced_token, layers: 1}}
        drop_layers: {strategy: top, keep: 2}
      data: reviews
      for: 4 steps
      batch: 8
      precision: float32
      augment: [masking]
      objectives: [labels: {}, labels: {head: polarity}, labels: {head: detect, weight: 50}]
      evaluate: {head: polarity, metrics: [accuracy]}
  - name: student
    train:
      model: {from: many, head: masked_lm, drop_layers: {strategy: top, keep: 1}}
      teacher: many
      data: reviews
      for: 2 steps
      batch: 8
      precision: float32
      augment: [masking]
      objectives: [soft_labels: {head: polarity}, logits_mse: {head: detect}]
      evaluate: {head: polarity}
  - name: again
    evaluate: {model: student, data: reviews, head: polarity}
  - name: out
    export: {model: student, formats: [huggingface]}
"""


class Stages(Case):
    def recipe(self, name, text, *more):
        return self.command(name, self.write(text), *more)

    def rows(self, file):
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def test_stages_leave_numbers_and_rows_for_others(self):
        out = self.folder / "run"
        done = self.recipe("run", CHAIN, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("held    layers layers.0", done.stdout)
        numbers = json.loads((out / "stages/layers/numbers.json").read_text())
        self.assertEqual(len(numbers["layers"]), 6)
        for number in numbers["layers"]:
            self.assertGreater(number, -1)
            self.assertLess(number, 1)
        rows = self.rows(out / "stages/label/rows.jsonl")
        self.assertEqual(len(rows), 48)
        for row in rows:
            self.assertEqual(list(row), ["text", "label", "negative", "positive"])
            self.assertAlmostEqual(row["negative"] + row["positive"], 1, places=6)
            self.assertEqual(row["label"], max("negative", "positive", key=row.get))
        with (ROOT / "data/movies/train.tsv").open(encoding="utf-8") as file:
            column = next(file).rstrip("\n").split("\t").index("sentence")
            texts = [next(file).rstrip("\n").split("\t")[column] for _ in rows]
        self.assertEqual([row["text"] for row in rows], texts)
        written = self.rows(out / "stages/write/rows.jsonl")
        self.assertGreater(len({row["text"] for row in written}), 1)
        again = self.recipe("run", CHAIN, "--out", out)
        self.assertEqual(again.stderr.count("unchanged since an earlier run"), 5, again.stderr)
        plan = self.recipe("plan", CHAIN)
        self.assertIn("rows.jsonl: 48 rows of text, label, negative, positive", plan.stdout)
        self.assertIn("numbers.json: layers.0 to layers.5", plan.stdout)

    def test_models_with_several_heads_train_teach_and_are_kept(self):
        out = self.folder / "run"
        done = self.recipe("run", HEADS, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("head 'polarity' (classification), drawn anew", done.stderr)
        self.assertIn("with its own 1 of 2 layers", done.stderr)
        logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        losses = next(line for line in logged if "loss/labels_3" in line)
        self.assertIn("loss/labels_2", losses)
        model = out / "stages/student/model"
        kept = json.loads((model / "config.json").read_text())["compress"]["heads"]
        self.assertEqual([head["name"] for head in kept], ["polarity", "detect"])
        self.assertEqual(kept[0]["labels"], ["negative", "positive"])
        scored = self.succeeds("evaluate", model, "--data", "data/movies/test.tsv", "--text",
                               "sentence", "--head", "polarity", "--json")
        self.assertEqual(json.loads(scored)["metrics"][0]["name"], "accuracy")
        exported = json.loads((out / "stages/out/huggingface/config.json").read_text())
        self.assertEqual(exported["compress"]["heads"], kept)
        wrong = self.recipe("plan", HEADS.replace("labels: {head: polarity}",
                                                   "labels: {head: polarty}"))
        self.assertEqual(wrong.returncode, 2, wrong.stderr)
        self.assertIn("did you mean 'polarity'?", wrong.stderr)
        self.assertIn("recipe.yaml:", wrong.stderr)

    def test_a_mistake_of_the_last_stage_ends_before_the_first_is_trained(self):
        out = self.folder / "run"
        begin = time.monotonic()
        done = self.recipe("run", MISSPELT, "--out", out)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("atention", done.stderr)
        self.assertIn("(stages.sparse.train.pruning", done.stderr)
        self.assertFalse((out / "stages").exists())
        self.assertLess(time.monotonic() - begin, 30)


if __name__ == "__main__":
    unittest.main()
