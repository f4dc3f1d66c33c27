"""Which class is which: heads that go on training, teachers, metrics, tags, rows without a class.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_classes.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support.program import BINARY, ROOT

TOKENIZER = ROOT / "models/all-MiniLM-L6-v2"

BERT = dict(vocab_size=30522, hidden_size=16, num_attention_heads=2, num_hidden_layers=2,
            intermediate_size=32, max_position_embeddings=64, pad_token_id=0)
DISTILBERT = dict(vocab_size=30522, dim=16, n_heads=2, n_layers=2, hidden_dim=32,
                  max_position_embeddings=64, pad_token_id=0)
GPT2 = dict(vocab_size=30522, n_embd=16, n_head=2, n_layer=2, n_positions=64, pad_token_id=0,
            bos_token_id=101, eos_token_id=102)
T5 = dict(vocab_size=30522, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, pad_token_id=0,
          eos_token_id=102, decoder_start_token_id=0)
BART = dict(vocab_size=30522, d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=32,
            encoder_attention_heads=2, decoder_attention_heads=2, decoder_ffn_dim=32,
            max_position_embeddings=64, pad_token_id=0, bos_token_id=101, eos_token_id=102,
            decoder_start_token_id=102, forced_eos_token_id=None)
FAMILIES = {"Bert": BERT, "Roberta": BERT | {"type_vocab_size": 1}, "DistilBert": DISTILBERT,
            "Electra": BERT | {"embedding_size": 16}, "GPT2": GPT2,
            "Llama": BERT | {"bos_token_id": 101, "eos_token_id": 102}, "T5": T5, "Bart": BART}
OUT = ("classifier", "classifier.out_proj", "score", "classification_head.out_proj")

TRAIN = """\
name: test
data:
  d: {train: TRAIN, text: text, label: label, task: TASK, DATA}
stages:
  - name: s
    train:
      model: MODEL
      data: d
      for: 1 step
      batch: 4
      precision: float32
      optimizer: {adamw: {lr: 1e-12, weight_decay: 0}}
"""


def model(folder, kind, labels, **settings):
    """Writes a small random model with these classes, and a tokenizer."""
    torch.manual_seed(13)
    made = getattr(transformers, kind)
    config = made.config_class(**settings)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: number for number, name in enumerate(labels)}
        config.num_labels = len(labels)
    made(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(TOKENIZER / file, folder)
    return folder


def answering(folder, says):
    """Makes a BERT with one linear head answer class number `says`, whatever it reads."""
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.weight"].zero_()
    tensors["classifier.bias"].zero_()[says] = 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


class Classes(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compress_classes_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name

    def run_it(self, *arguments, code=0):
        done = subprocess.run([BINARY, *map(str, arguments)], cwd=self.folder, text=True,
                              capture_output=True, timeout=600, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def bert(self, name, labels, kind="BertForSequenceClassification", **settings):
        return model(self.folder / name, kind, labels, **BERT | settings)

    def error(self, done, what, where=None):
        self.assertIn(what, done.stderr)
        if where is not None:
            self.assertIn(f"  at: {where}", done.stderr)


class Heads(Classes):
    """Going on with a trained head: its rows follow the names."""

    def goes_on(self, kind, settings, data, task, labels="labels: [positive, negative]",
                names=("negative", "positive")):
        source = model(self.folder / kind, kind, names, **settings)
        file = self.write("train." + ("jsonl" if task == "token_classification" else "tsv"), data)
        text = TRAIN.replace("TRAIN", str(file)).replace("TASK", task).replace("DATA", labels)
        recipe = self.write("r.yaml", text.replace("MODEL", str(source)))
        done = self.run_it("run", recipe, "--out", f"run-{kind}", "--fresh")
        run = self.folder / f"run-{kind}"
        return (load_file(source / "model.safetensors"),
                load_file(run / "stages/s/model/model.safetensors"),
                done.stderr + (run / "result.md").read_text(encoding="utf-8"),
                json.loads((run / "stages/s/model/config.json").read_text(encoding="utf-8")))

    def check_rows(self, kind, settings, data, task):
        before, after, said, config = self.goes_on(kind, settings, data, task)
        swapped = 0
        for name, tensor in before.items():
            if name not in after:
                continue
            module, _, part = name.rpartition(".")
            if module in OUT:
                tensor = tensor.flip(0)
                swapped += part == "weight"
            self.assertTrue(torch.allclose(tensor, after[name], atol=1e-6), f"{kind} {name}")
        self.assertEqual(swapped, 1, kind)
        self.assertEqual(said.count("head kept, its rows reordered: classes positive, negative for "
                                    "negative, positive"), 2, said)
        self.assertEqual(config["id2label"], {"0": "positive", "1": "negative"})

    def test_classes_of_rows_in_another_order(self):
        data = "text\tlabel\n" + "good film\tpositive\nbad film\tnegative\n" * 2
        for family, settings in FAMILIES.items():
            with self.subTest(family):
                self.check_rows(f"{family}ForSequenceClassification", settings, data,
                                "classification")

    def test_classes_of_words_in_another_order(self):
        data = '{"text": ["good", "film"], "label": ["positive", "negative"]}\n' * 4
        for family, settings in FAMILIES.items():
            if family == "Bart":
                continue
            with self.subTest(family):
                self.check_rows(f"{family}ForTokenClassification", settings, data,
                                "token_classification")

    def test_placeholders_keep_the_head(self):
        data = "text\tlabel\ngood film\t1\nbad film\t0\n"
        before, after, said, config = self.goes_on(
            "RobertaForSequenceClassification", FAMILIES["Roberta"], data, "classification",
            "limit: 2", ("LABEL_0", "LABEL_1"))
        for name in ("classifier.dense.weight", "classifier.out_proj.weight"):
            self.assertTrue(torch.allclose(before[name], after[name], atol=1e-6), name)
        self.assertIn("head kept, classes 0, 1 for LABEL_0, LABEL_1", said)
        self.assertEqual(config["id2label"], {"0": "0", "1": "1"})

    def test_a_new_head_is_said(self):
        data = "text\tlabel\ngood film\tgood\nbad film\tbad\n"
        before, after, said, _ = self.goes_on("BertForSequenceClassification", BERT, data,
                                              "classification", "limit: 2")
        self.assertFalse(torch.allclose(before["classifier.weight"], after["classifier.weight"]))
        self.assertEqual(said.count("head drawn anew: classes bad, good (the model's were "
                                    "negative, positive)"), 2, said)
        done = self.run_it("plan", "r.yaml")
        self.assertIn("  head drawn anew: classes bad, good", done.stdout)


TEACHER = """\
name: test
data:
  d: {train: train.tsv, VALIDATION text: text, label: label}
stages:
  - name: student
    train:
      model: MODEL
      teacher: TEACHER
      data: d
      for: 2 steps
      batch: 4
      precision: float32
      objectives: [soft_labels: {weight: 0.5}, labels: {weight: 0.5}]
"""


class Teachers(Classes):
    def recipe(self, teacher, base="base", validation=True, change=None):
        text = TEACHER.replace("MODEL", base).replace("TEACHER", teacher)
        text = text.replace("VALIDATION", "validation: dev.tsv," if validation else "")
        return self.write("r.yaml", text.replace(*change) if change else text)

    def data(self, *labels):
        rows = "".join(f"good film\t{label}\nbad film\t{label}\n" for label in labels)
        self.write("train.tsv", "text\tlabel\n" + rows * 2)
        self.write("dev.tsv", "text\tlabel\n" + rows)

    def test_placeholders_are_matched_by_number_everywhere(self):
        self.data(0, 1)
        self.bert("base", [], kind="BertModel")
        answering(self.bert("teacher", ["LABEL_0", "LABEL_1"]), 1)
        scores = set()
        for validation in (True, False):
            self.recipe("teacher", validation=validation)
            self.run_it("plan", "r.yaml")
            self.run_it("run", "r.yaml", "--fresh")
        done = self.run_it("evaluate", "teacher", "--data", "dev.tsv", "--json")
        scores.update(m["value"] for m in json.loads(done.stdout)["metrics"]
                      if m["name"] == "accuracy")
        self.write("e.yaml", "name: e\ndata:\n  d: {train: train.tsv, test: dev.tsv, text: text, "
                             "label: label}\nstages:\n  - name: score\n    evaluate: "
                             "{model: teacher, data: d}\n")
        self.run_it("run", "e.yaml")
        result = json.loads((self.folder / "runs/e/result.json").read_text(encoding="utf-8"))
        scores.add(result["stages"][0]["test"][0]["value"])
        self.assertEqual(scores, {0.5})

    def test_other_classes_are_refused_alike_and_before_anything_runs(self):
        self.data("no", "yes")
        self.bert("base", [], kind="BertModel")
        self.bert("teacher", ["LABEL_0", "LABEL_1"])
        for validation in (True, False):
            self.recipe("teacher", validation=validation)
            for command in ("plan", "run"):
                done = self.run_it(command, "r.yaml", code=2)
                self.error(done, "the teacher has LABEL_0, LABEL_1; the student has no, yes",
                           "r.yaml:8:16 (stages.student.train.teacher)")
                self.assertIn("id2label", done.stderr)
        self.assertFalse((self.folder / "runs").exists())
        done = self.run_it("evaluate", "teacher", "--data", "dev.tsv", code=3)
        self.error(done, 'label "no" is none of the 2 classes')

    def test_heads_metrics_devices_and_uses_are_checked_with_their_places(self):
        self.data("no", "yes")
        self.bert("base", [], kind="BertModel")
        self.bert("teacher", ["no", "yes"])
        self.bert("language", [], kind="BertForMaskedLM")
        self.recipe("language")
        self.error(self.run_it("plan", "r.yaml", code=2),
                   "the teacher's head is masked_lm, but the student's is classification",
                   "r.yaml:8:16 (stages.student.train.teacher)")
        self.recipe("{from: teacher, metric: acuracy}")
        self.error(self.run_it("plan", "r.yaml", code=2), "unknown metric 'acuracy'",
                   "r.yaml:8:40 (stages.student.train.teacher.metric)")
        self.recipe("{from: teacher, metric: pearson}")
        self.error(self.run_it("plan", "r.yaml", code=2), "needs predicted scores",
                   "r.yaml:8:40 (stages.student.train.teacher.metric)")
        self.recipe("{from: teacher, floor: 1.5}")
        self.error(self.run_it("run", "r.yaml", code=2), "the recipe's floor is 1.5",
                   "r.yaml:8:39 (stages.student.train.teacher.floor)")
        self.recipe("teacher", change=("precision: float32", "device: gpu"))
        self.error(self.run_it("plan", "r.yaml", code=2), "unknown device 'gpu'",
                   "r.yaml:12:15 (stages.student.train.device)")
        self.recipe("teacher", change=("soft_labels: {weight: 0.5}, ", ""))
        self.error(self.run_it("plan", "r.yaml", code=2), "no objective uses the teacher",
                   "r.yaml:8:16 (stages.student.train.teacher)")
        self.recipe("teacher", change=("precision: float32",
                                       "evaluate: {metrics: [accuracy, entity_f1]}"))
        self.error(self.run_it("run", "r.yaml", code=2), "metric 'entity_f1' needs tags",
                   "r.yaml:12:38 (stages.student.train.evaluate.metrics[1])")
        self.assertFalse((self.folder / "runs/test/stages/student/model").exists())

    def test_a_teacher_of_other_classes_may_lend_its_states(self):
        self.data("no", "yes")
        self.bert("base", [], kind="BertModel")
        self.bert("teacher", ["a", "b", "c"])
        states = ("soft_labels: {weight: 0.5}", "hidden_states: {map: {2: 2}}")
        self.recipe("teacher", change=states)
        self.run_it("run", "r.yaml")
        self.recipe("{from: teacher, floor: 0.5}", change=states)
        self.error(self.run_it("plan", "r.yaml", code=2), "a floor needs a teacher that can be "
                   "scored", "r.yaml:8:39 (stages.student.train.teacher.floor)")

    def test_texts_without_labels_leave_a_head_its_classes(self):
        self.data("no", "yes")
        self.bert("base", ["yes", "no"])
        self.bert("teacher", ["no", "yes"])
        self.recipe("teacher", validation=False, change=(", labels: {weight: 0.5}", ""))
        text = (self.folder / "r.yaml").read_text(encoding="utf-8")
        self.write("r.yaml", text.replace("label: label", "task: unlabelled"))
        done = self.run_it("run", "r.yaml")
        self.assertNotIn("head drawn anew", done.stderr)
        model_folder = self.folder / "runs/test/stages/student/model"
        config = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["id2label"], {"0": "yes", "1": "no"})

    def test_tables_padded_to_different_sizes(self):
        self.data("no", "yes")
        self.bert("base", [], kind="BertModel", vocab_size=30528)
        self.bert("teacher", ["no", "yes"])
        self.recipe("teacher")
        self.run_it("plan", "r.yaml")
        self.run_it("run", "r.yaml")
        self.write("text.jsonl", '{"text": "a good film"}\n{"text": "hello world"}\n' * 2)
        head = dict(GPT2, n_layer=1)
        losses = {}
        for name, small, large in (("equal", 30522, 30522), ("wide", 30522, 30600),
                                   ("narrow", 30600, 30522)):
            for size, rows in (("small", small), ("large", large)):
                model(self.folder / f"{size}-{name}", "GPT2LMHeadModel", [],
                      **head | {"vocab_size": rows})
            text = TEACHER.replace("MODEL", f"small-{name}").replace("TEACHER", f"large-{name}")
            text = text.replace("train.tsv", "text.jsonl").replace("VALIDATION", "")
            text = text.replace("label: label", "task: language_model").replace("name: test",
                                                                               f"name: {name}")
            self.write("lm.yaml", text)
            self.run_it("plan", "lm.yaml")
            self.run_it("run", "lm.yaml")
            lines = (self.folder / f"runs/{name}/metrics.jsonl").read_text().splitlines()
            losses[name] = json.loads(lines[-1])["loss/soft_labels"]
        for loss in losses.values():
            self.assertTrue(0 <= loss < 1, losses)
        # Tokens that only one of two tables has are no padding.
        model(self.folder / "cut", "GPT2LMHeadModel", [], **head | {"vocab_size": 30000})
        self.write("lm.yaml", (self.folder / "lm.yaml").read_text().replace("small-narrow", "cut"))
        for command in ("plan", "run"):
            done = self.run_it(command, "lm.yaml", code=2)
            self.error(done, "the student has logits of 30000 tokens and the teacher of 30522",
                       "lm.yaml:8:16 (stages.student.train.teacher)")
            self.assertIn("resize_vocabulary: {size: 30522}", done.stderr)


class Metrics(Classes):
    def scores(self, done):
        return {m["name"]: m for m in json.loads(done.stdout)["metrics"]}

    def test_f1_is_about_a_named_class(self):
        # Three rows positive, one negative, all answered with positive: F1 of positive is 6/7, of
        # negative 0 (scikit-learn).
        answering(self.bert("m", ["positive", "negative"]), 0)
        self.write("d.tsv", "text\tlabel\n" + "good film\tpositive\n" * 3 + "bad\tnegative\n")
        evaluate = ("evaluate", "m", "--data", "d.tsv", "--metrics", "f1", "--json")
        f1 = self.scores(self.run_it(*evaluate))["f1"]
        self.assertAlmostEqual(f1["value"], 6 / 7)
        self.assertEqual(f1["class"], "positive")
        f1 = self.scores(self.run_it(*evaluate, "--positive", "negative"))["f1"]
        self.assertEqual((f1["value"], f1["class"]), (0, "negative"))
        self.assertIn("f1 of positive  0.8571", self.run_it(*evaluate[:-1]).stdout)
        for key, value, name in (("", 6 / 7, "positive"), ("positive: negative, ", 0, "negative"),
                                 ("positive: positive, ", 6 / 7, "positive")):
            for order in ("negative, positive", "positive, negative"):
                self.write("r.yaml", "name: r\ndata:\n  d: {test: d.tsv, text: text, label: label, "
                           + key + f"labels: [{order}]}}\nstages:\n  - name: score\n"
                           "    evaluate: {model: m, data: d, metrics: [f1]}\n")
                self.run_it("run", "r.yaml")
                found = json.loads((self.folder / "runs/r/result.json").read_text())
                metric = found["stages"][0]["test"][0]
                self.assertAlmostEqual(metric["value"], value)
                self.assertEqual(metric["class"], name)
                self.assertIn(f"f1 of {name}", (self.folder / "runs/r/result.md").read_text())
        done = self.run_it(*evaluate, "--positive", "maybe", code=2)
        self.error(done, '"maybe", which is none of the classes', "--positive")
        self.write("r.yaml", (self.folder / "r.yaml").read_text().replace("positive: positive",
                                                                          "positive: maybe"))
        self.error(self.run_it("plan", "r.yaml", code=2), '"maybe" is none of the classes',
                   "r.yaml:3:6 (data.d.positive)")

    def test_tags_of_other_schemes(self):
        for scheme, tags in {"io": ("I-PER", "I-LOC"), "iobes": ("S-PER", "S-LOC"),
                             "iob1": ("I-PER", "I-LOC")}.items():
            person, place = tags
            more = ["B-LOC"] if scheme == "iob1" else []
            answering(self.bert(scheme, [place, person, "O", *more],
                                kind="BertForTokenClassification"), 0)
            self.write("d.conll", f"james {person}\nis O\nworld {place}\n\n"
                                  f"hello O\nworld {place}\n")
            done = self.run_it("evaluate", scheme, "--data", "d.conll", "--text", "0", "--label=-1",
                               "--json")
            found = self.scores(done)
            self.assertEqual(list(found)[:3], ["entity_f1", "entity_precision", "entity_recall"])
            self.assertEqual(found["entity_f1"]["n"], 3)
            # S tags each end an entity: five of one word, of which two are right; I tags join.
            expected = 2 * 2 / (5 + 3) if scheme == "iobes" else 0
            self.assertAlmostEqual(found["entity_f1"]["value"], expected)

    def test_rows_without_a_class(self):
        answering(self.bert("m", ["entailment", "neutral"]), 1)
        self.write("d.tsv", "text\tlabel\na\tentailment\nb\t-\nc\tneutral\nd\tneutral\n")
        done = self.run_it("evaluate", "m", "--data", "d.tsv", code=3)
        self.error(done, 'label "-" is none of the 2 classes')
        self.assertIn('skip_labels: ["-"]', done.stderr)
        done = self.run_it("evaluate", "m", "--data", "d.tsv", "--skip-labels=-,-1", "--json")
        found = json.loads(done.stdout)
        self.assertEqual((found["rows"], found["rows_left_out"]), (3, 1))
        self.assertAlmostEqual(self.scores(done)["accuracy"]["value"], 2 / 3)
        recipe = TRAIN.replace("TRAIN", "d.tsv").replace("TASK", "classification")
        self.write("r.yaml", recipe.replace("MODEL", "m").replace("DATA", "limit: 4"))
        self.assertIn('"-" is a class of this data', self.run_it("plan", "r.yaml").stdout)
        self.assertIn('"-" is a class of this data', self.run_it("run", "r.yaml").stderr)
        self.write("r.yaml", recipe.replace("MODEL", "m").replace("DATA", 'skip_labels: ["-"]'))
        done = self.run_it("plan", "r.yaml")
        self.assertIn("{entailment, neutral}", done.stdout)
        self.assertIn("(3 rows,", done.stdout)
        self.run_it("run", "r.yaml", "--fresh")
        self.assertIn("rows of the training part left out by skip_labels: 1",
                      (self.folder / "runs/test/result.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main()
