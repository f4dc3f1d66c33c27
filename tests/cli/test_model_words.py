"""What a model folder says, followed or refused by name, as a user of the command line meets it.

Run from the repository root: .venv/bin/python tests/cli/test_model_words.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import json
import os
import unittest

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from sklearn import metrics as sk

from tests.support.program import ROOT, Case, command

transformers.utils.logging.disable_progress_bar()

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "the", "one", "yak"]
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
             max_position_embeddings=32)
ROWS = "text\tlabel\ngood film\t1\nthe bad one\t0\n"


class Folders(Case):
    def setUp(self):
        super().setUp()
        (self.folder / "d.tsv").write_text(ROWS)

    def bert(self, name, kind="ForSequenceClassification", words=WORDS, rows=len(WORDS), **more):
        """A folder with as many rows of the embedding as `rows`."""
        torch.manual_seed(1)
        config = transformers.BertConfig(vocab_size=rows, **SIZES, **more)
        model = getattr(transformers, f"Bert{kind}")(config)
        return self.save(model, name, words)

    def save(self, model, name, words=WORDS):
        at = self.folder / name
        model.save_pretrained(at)
        (at / "vocab.txt").write_text("\n".join(words) + "\n")
        (at / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
        return at

    def edit(self, file, **changes):
        content = json.loads((self.folder / file).read_text())
        content.update(changes)
        (self.folder / file).write_text(json.dumps(
            {key: value for key, value in content.items() if value is not None}))

    def recipe(self, model, data="train: d.tsv, text: text, label: label", name="r", **train):
        keys = dict({"data": "d", "for": "1 step", "batch": 2, "precision": "float32"}, **train)
        lines = "\n".join(f"      {key}: {value}" for key, value in keys.items())
        text = (f"name: {name}\ndata:\n  d: {{{data}}}\nstages:\n  - name: s\n    train:\n"
                f"      model: {model}\n{lines}\n")
        file = self.folder / f"{name}.yaml"
        file.write_text(text)
        return file

    def command(self, *arguments):
        environment = {**os.environ, "COMPRESS_CACHE": str(self.folder / "cache")}
        return command(*arguments, cwd=self.folder, env=environment)


class ProblemTypes(Folders):
    NAMES = {0: "toxic", 1: "insult", 2: "threat"}

    def test_multi_label_is_shown_and_kept(self):
        self.bert("m", id2label=self.NAMES, problem_type="multi_label_classification")
        shown = self.succeeds("inspect", "m")
        self.assertIn("multi_label_classification {toxic, insult, threat}", shown)
        self.succeeds("export", "m", "--format", "huggingface", "--out", "out")
        written = json.loads((self.folder / "out/config.json").read_text())
        self.assertEqual(written["problem_type"], "multi_label_classification")
        again = load_file(self.folder / "out/model.safetensors")
        for name, tensor in load_file(self.folder / "m/model.safetensors").items():
            self.assertTrue(torch.equal(again[name], tensor), name)
        # A table's cell with labels says what stands between them.
        self.assertIn("label_separator", self.fails(2, "evaluate", "m", "--data", "d.tsv"))

    def test_multi_label_is_trained_scored_and_read_by_transformers(self):
        self.bert("m", id2label=self.NAMES, problem_type="multi_label_classification")
        sets = [["toxic", "threat"], [], ["insult"], ["threat"]]
        texts = ["good film", "the bad one", "bad yak", "the one good film"]
        (self.folder / "d.jsonl").write_text("".join(
            json.dumps({"text": text, "label": names}) + "\n" for text, names in zip(texts, sets)))
        found = json.loads(self.succeeds("evaluate", "m", "--data", "d.jsonl", "--json",
                                         "--predictions", "p.jsonl"))
        names = list(self.NAMES.values())
        given = np.array([[name in each for name in names] for each in sets], dtype=int)
        logits = self.logits("m", texts)
        chosen = (logits > 0).astype(int)
        wanted = {"f1_micro": sk.f1_score(given, chosen, average="micro", zero_division=0),
                  "f1_macro": sk.f1_score(given, chosen, average="macro", zero_division=0),
                  "subset_accuracy": sk.accuracy_score(given, chosen),
                  "lrap": sk.label_ranking_average_precision_score(given, logits)}
        self.assertEqual({m["name"] for m in found["metrics"]}, set(wanted))
        for metric in found["metrics"]:
            self.assertAlmostEqual(metric["value"], wanted[metric["name"]], delta=1e-9)
        self.assertAlmostEqual(found["loss"], torch.nn.BCEWithLogitsLoss()(
            torch.tensor(logits), torch.tensor(given, dtype=torch.float)).item(), delta=1e-5)
        data = "train: d.jsonl, test: d.jsonl, text: text, label: label, task: multi_label"
        recipe = self.recipe("m", data, teacher="m", objectives="[labels: {}, soft_labels: {}]",
                             **{"for": "3 steps"})
        self.assertIn("multi_label", self.succeeds("plan", recipe))
        self.succeeds("run", recipe)
        stage = next(self.folder.glob("runs/*/stages/s"))
        config = json.loads((stage / "model/config.json").read_text())
        self.assertEqual(config["problem_type"], "multi_label_classification")
        # The head's rows follow the data's names, which are sorted.
        names = sorted(names)
        self.assertEqual(config["id2label"], {str(i): n for i, n in enumerate(names)})
        logits = logits[:, [list(self.NAMES.values()).index(name) for name in names]]
        kept = [json.loads(line)
                for line in (stage / "predictions-test.jsonl").read_text().splitlines()]
        trained = self.logits(stage / "model", texts)
        self.assertGreater(abs(trained - logits).max(), 1e-6)
        for row, line in zip(trained, kept, strict=True):
            for name, value in zip(names, row, strict=True):
                self.assertAlmostEqual(line["log_odds"][name], value, delta=1e-5)
            self.assertEqual(line["prediction"], [n for n, v in zip(names, row) if v > 0])

    def logits(self, folder, texts):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            self.folder / folder).eval()
        rows = [[WORDS.index(word) for word in f"[CLS] {text} [SEP]".split()] for text in texts]
        with torch.no_grad():
            return np.concatenate([model(torch.tensor([row])).logits.numpy() for row in rows])

    def test_several_regressions_too(self):
        self.bert("m", id2label=self.NAMES, problem_type="regression")
        self.assertIn("regression {toxic, insult, threat}", self.succeeds("inspect", "m"))
        data = "train: d.tsv, text: text, label: label, task: regression"
        for arguments in (("plan", self.recipe("m", data)), ("evaluate", "m", "--data", "d.tsv")):
            self.assertIn('problem_type is "regression" with 3', self.fails(4, *arguments))

    def test_a_multi_label_teacher_teaches_no_softmax(self):
        self.bert("t", num_labels=2, problem_type="multi_label_classification")
        self.bert("student", num_labels=2, id2label={0: "0", 1: "1"})
        recipe = self.recipe("student", teacher="t", objectives="[soft_labels: {}]")
        self.assertIn("multi_label_classification", self.fails(2, "run", recipe))


class Poolings(Folders):
    def pooled(self, name, model, **switches):
        at = self.save(model, name)
        (at / "modules.json").write_text(json.dumps([
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling",
             "type": "sentence_transformers.models.Pooling"}]))
        (at / "1_Pooling").mkdir()
        (at / "1_Pooling/config.json").write_text(json.dumps(switches))
        return at

    def test_auto_follows_the_folder_whatever_its_class(self):
        bert = transformers.BertConfig(vocab_size=len(WORDS), **SIZES)
        qwen = transformers.Qwen3Config(vocab_size=len(WORDS), head_dim=8, num_key_value_heads=2,
                                        **SIZES)
        rows = {
            "last": (transformers.BertModel(bert), "pooling_mode_lasttoken"),
            "max": (transformers.BertModel(bert), "pooling_mode_max_tokens"),
            "qwen": (transformers.Qwen3ForCausalLM(qwen), "pooling_mode_lasttoken"),
            "mlm": (transformers.BertForMaskedLM(bert), "pooling_mode_cls_token"),
        }
        for name, (model, key) in rows.items():
            with self.subTest(name):
                self.pooled(name, model, word_embedding_dimension=16, **{key: True})
                recipe = self.recipe(f"{{from: {name}, head: embedding}}",
                                     "train: d.tsv, text: text, task: unlabelled", name=f"r_{name}",
                                     teacher=name, objectives="[hidden_states: {}]")
                self.succeeds("run", recipe)
                file = self.folder / f"runs/r_{name}/stages/s/model/1_Pooling/config.json"
                written = json.loads(file.read_text())
                on = [k for k, v in written.items() if v is True]
                self.assertEqual(on, [key])
                mode = {"last": "lasttoken", "max": "max", "qwen": "lasttoken", "mlm": "cls"}[name]
                self.assertRegex(self.succeeds("inspect", file.parents[1]),
                                 rf"(?m)^pooling +{mode}$")

    def test_the_recipe_may_say_otherwise(self):
        model = transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **SIZES))
        self.pooled("m", model, word_embedding_dimension=16, pooling_mode_cls_token=True)
        recipe = self.recipe("{from: m, head: embedding, pooling: weightedmean}",
                             "train: d.tsv, text: text, task: unlabelled", teacher="m",
                             objectives="[hidden_states: {}]")
        self.succeeds("run", recipe)
        file = self.folder / "runs/r/stages/s/model/1_Pooling/config.json"
        self.assertTrue(json.loads(file.read_text())["pooling_mode_weightedmean_tokens"])

    def test_prompts_that_do_not_count_are_refused(self):
        model = transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **SIZES))
        self.pooled("m", model, pooling_mode_mean_tokens=True, include_prompt=False)
        error = self.fails(4, "inspect", "m")
        self.assertIn("include_prompt", error)
        self.assertIn("1_Pooling/config.json", error)


class Tensors(Folders):
    def test_those_of_another_making_are_left_out(self):
        at = self.bert("m", "Model")
        tensors = load_file(at / "model.safetensors")
        for i in range(7):
            for part in ("weight", "bias"):
                tensors[f"fit_denses.{i}.{part}"] = torch.rand(4)
        save_file(tensors, at / "model.safetensors", {"format": "pt"})
        self.edit("m/config.json", cell={}, emb_size=16, structure=[])
        done = self.runs("inspect", "m")
        (line,) = [line for line in done.stderr.splitlines() if "left out" in line]
        self.assertIn("'fit_denses.0.bias', 'fit_denses.0.weight'", line)
        self.assertIn("and 8 more", line)
        (line,) = [line for line in done.stderr.splitlines() if "not read" in line]
        self.assertIn("cell, emb_size, structure", line)
        self.edit("m/config.json", model_type=None, architectures=None)
        error = self.fails(4, "inspect", "m")
        self.assertIn("model_type", error)
        self.assertIn("one of bert, roberta, xlm-roberta, electra", error)

    def test_pruned_heads_are_named(self):
        at = self.bert("m", "Model")
        self.edit("m/config.json", pruned_heads={"0": [1]})
        self.assertIn("pruned_heads", self.fails(4, "inspect", "m"))
        tensors = load_file(at / "model.safetensors")
        for part in ("query", "key", "value"):
            name = f"encoder.layer.0.attention.self.{part}."
            tensors[name + "weight"] = tensors[name + "weight"][:8].contiguous()
            tensors[name + "bias"] = tensors[name + "bias"][:8].contiguous()
        save_file(tensors, at / "model.safetensors", {"format": "pt"})
        self.assertIn("pruned_heads", self.fails(4, "inspect", "m"))
        self.bert("whole", "Model")
        self.edit("whole/config.json", pruned_heads={})
        self.assertEqual(self.runs("inspect", "whole").stderr, "")


class Vocabularies(Folders):
    MORE = [*WORDS, "[ENT]", "zebu"]

    def setUp(self):
        super().setUp()
        (self.folder / "zebu.tsv").write_text(ROWS + "the zebu\t1\n")

    def rows_are_named(self, error, token="12 ('zebu')", rows=11, tokens=13):
        self.assertIn(f"token {token}", error)
        self.assertIn(f"{rows} rows", error)
        self.assertIn(f"the tokenizer has {tokens} tokens", error)
        self.assertIn("resize_vocabulary", error)
        self.assertIn("zebu.tsv:4", error)

    def test_a_token_without_a_row_is_an_error_where_a_text_has_it(self):
        self.bert("m", words=self.MORE, id2label={0: "0", 1: "1"})
        done = self.runs("evaluate", "m", "--data", "d.tsv")
        self.assertIn("the tokenizer has 13 tokens and the model's embedding 11 rows", done.stderr)
        self.assertIn("'[ENT]', 'zebu'", done.stderr)
        self.rows_are_named(self.fails(3, "evaluate", "m", "--data", "zebu.tsv"))
        self.assertIn("13 tokens", self.succeeds("inspect", "m"))
        told = json.loads(self.succeeds("inspect", "m", "--json"))
        self.assertEqual((told["tokenizer_tokens"], told["vocab_size"]), (13, 11))
        self.rows_are_named(self.fails(3, "export", "m", "--format", "huggingface", "--out", "out",
                                       "--data", "zebu.tsv"))

    def test_in_training_of_any_part(self):
        self.bert("m", words=self.MORE, id2label={0: "0", 1: "1"})
        columns = ", text: text, label: label"
        for data in ("train: zebu.tsv", "train: d.tsv, validation: zebu.tsv",
                     "train: d.tsv, test: zebu.tsv"):
            with self.subTest(data):
                self.rows_are_named(self.fails(3, "run", self.recipe("m", data + columns)))
        recipe = self.recipe("m", "train: d.tsv" + columns)
        self.assertIn("13 tokens", self.runs("plan", recipe).stderr)
        self.assertIn("13 tokens", self.runs("run", recipe).stderr)
        more = self.recipe("{from: m, resize_vocabulary: {size: 13}}", "train: zebu.tsv" + columns,
                           name="more")
        self.assertNotIn("13 tokens", self.runs("run", more).stderr)

    def test_after_a_vocabulary_was_cut(self):
        self.bert("m", words=self.MORE, rows=13, id2label={0: "0", 1: "1"})
        recipe = self.recipe("{from: m, resize_vocabulary: {size: 12}}",
                             "train: zebu.tsv, text: text, label: label")
        self.rows_are_named(self.fails(3, "run", recipe), rows=12)

    def test_of_a_teacher(self):
        self.bert("student", words=self.MORE, rows=13, id2label={0: "0", 1: "1"})
        self.bert("t", words=self.MORE, rows=12, id2label={0: "0", 1: "1"})
        recipe = self.recipe("student", "train: zebu.tsv, text: text, label: label", teacher="t",
                             objectives="[soft_labels: {}]")
        error = self.fails(2, "run", recipe)  # told before anything runs
        self.assertIn("the teacher knows 12 tokens and the student 13", error)
        self.assertIn("resize_vocabulary", error)

    def test_masks_draw_tokens_that_have_rows(self):
        self.bert("m", "ForMaskedLM", words=self.MORE)
        recipe = self.recipe("m", "train: d.tsv, validation: d.tsv, text: text, task: unlabelled",
                             augment="[masking: {probability: 100%, masked: 0%, random: 100%}]",
                             **{"for": "40 steps"})
        self.succeeds("run", recipe)

    def test_in_generation(self):
        torch.manual_seed(1)
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
            vocab_size=11, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=None,
            eos_token_id=None))
        self.save(model, "g", self.MORE)
        self.assertIn("13 tokens", self.runs("generate", "g", "--prompt", "good").stderr)
        error = self.fails(3, "generate", "g", "--prompt", "zebu")
        self.assertIn("token 12 ('zebu'), but the model's embedding has 11 rows", error)


if __name__ == "__main__":
    unittest.main()
