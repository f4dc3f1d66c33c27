"""Language models end to end: perplexities are those of transformers, and stages train and
distil them.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_written.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import csv
import json
import math
import os
import pathlib
import subprocess
import tempfile
import unittest

import tokenizers
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
ROWS = 40


def sentences(part):
    with open(ROOT / f"data/movies/{part}.tsv", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["sentence"] for _, row in zip(range(ROWS), rows)]


def save_tokenizer(folder, end, template):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", end], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sentences("train"), trainer)
    if template:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, tokenizer.token_to_id(end))])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer,
                                                   eos_token=end, pad_token="<pad>")
    fast.save_pretrained(folder)
    return fast


def run(*arguments):
    done = subprocess.run([BINARY, *map(str, arguments)], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        words = " ".join(map(str, arguments))
        raise AssertionError(f"{words}: exit {done.returncode}\n{done.stderr}")
    return done


class Written(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        torch.manual_seed(3)
        cls.gpt2 = cls.folder / "gpt2"
        cls.gpt2_tokenizer = save_tokenizer(cls.gpt2, "<|end|>", template=False)
        size = len(cls.gpt2_tokenizer)
        cls.gpt2_model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
            vocab_size=size, n_positions=128, n_embd=32, n_layer=2, n_head=2,
            eos_token_id=1)).eval()
        cls.gpt2_model.save_pretrained(cls.gpt2)
        cls.t5 = cls.folder / "t5"
        cls.t5_tokenizer = save_tokenizer(cls.t5, "</s>", template=True)
        cls.t5_model = transformers.T5ForConditionalGeneration(transformers.T5Config(
            vocab_size=size, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
            pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)).eval()
        cls.t5_model.save_pretrained(cls.t5)
        cls.pairs = cls.folder / "pairs.tsv"
        texts = sentences("dev")
        with open(cls.pairs, "w", encoding="utf-8") as file:
            file.write("text\ttarget\n")
            for text in texts:
                words = text.split()
                file.write(f"{text}\t{' '.join(reversed(words[:8]))}\n")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def evaluate(self, *arguments):
        found = json.loads(run("evaluate", *arguments, "--device", "cpu", "--json").stdout)
        return found["metrics"][0], found["loss"]

    def causal_loss(self, rows):
        total, tokens = 0.0, 0
        with torch.no_grad():
            for row in rows:
                ids = torch.tensor([row])
                count = len(row) - 1
                if count:
                    total += self.gpt2_model(ids, labels=ids).loss.item() * count
                    tokens += count
        return total, tokens

    def test_causal_perplexity(self):
        ids = [self.gpt2_tokenizer(text)["input_ids"] for text in sentences("dev")]
        rows = [(row + [1])[:32] if len(row) < 32 else row[:32] for row in ids]
        total, tokens = self.causal_loss(rows)
        metric, loss = self.evaluate(self.gpt2, "--data", "data/movies/dev.tsv",
                                     "--text", "sentence", "--limit", ROWS, "--max-length", 32)
        self.assertEqual((metric["name"], metric["n"]), ("perplexity", tokens))
        self.assertAlmostEqual(loss, total / tokens, places=4)
        self.assertAlmostEqual(metric["value"] / math.exp(total / tokens), 1, places=4)
        stream = [token for row in ids for token in row + [1]]
        total, tokens = self.causal_loss([stream[i:i + 64] for i in range(0, len(stream), 64)])
        metric, loss = self.evaluate(self.gpt2, "--data", "data/movies/dev.tsv",
                                     "--text", "sentence", "--limit", ROWS,
                                     "--max-length", 64, "--concatenate")
        self.assertEqual(metric["n"], tokens)
        self.assertAlmostEqual(loss, total / tokens, places=4)

    def test_perplexity_of_targets(self):
        total, tokens = 0.0, 0
        with open(self.pairs, encoding="utf-8") as file, torch.no_grad():
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                source = self.t5_tokenizer(row["text"], truncation=True,
                                           max_length=128)["input_ids"]
                target = self.t5_tokenizer(row["target"])["input_ids"]
                loss = self.t5_model(input_ids=torch.tensor([source]),
                                     labels=torch.tensor([target])).loss
                total += loss.item() * len(target)
                tokens += len(target)
        metric, loss = self.evaluate(self.t5, "--data", self.pairs)
        self.assertEqual((metric["name"], metric["n"]), ("perplexity", tokens))
        self.assertAlmostEqual(loss, total / tokens, places=4)

    def perplexity(self, recipe, name):
        """Of the student on the validation part, and the run's log."""
        path = self.folder / f"{name}.yaml"
        path.write_text(recipe, encoding="utf-8")
        self.assertIn("updates of 8", run("plan", path).stdout)
        out = self.folder / f"run-{name}"
        log = run("run", path, "--out", out).stderr
        text = (out / "metrics.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        return [line["validation/perplexity"] for line in lines
                if "validation/perplexity" in line and line["stage"] == "student"][-1], log

    def recipe(self, model, data, objectives, teacher=""):
        return f"""\
name: test
data:
  texts: {data}
stages:
  - name: teacher
    train:
      model: {{from: {model}}}
      data: texts
      for: 20 steps
      batch: 8
      precision: float32
      device: cpu
      optimizer: {{adamw: {{lr: 1e-2}}}}
  - name: student
    train:
      model: {{from: {model}}}
      teacher: {{from: teacher{teacher}}}
      data: texts
      for: 40 steps
      batch: 8
      precision: float32
      device: cpu
      objectives: {objectives}
      optimizer: {{adamw: {{lr: 1e-2}}}}
"""

    def test_distilling_causal_models(self):
        data = ("{task: language_model, train: data/movies/train.tsv, "
                "validation: data/movies/dev.tsv, text: sentence, "
                f"limit: {ROWS}, max_length: 32, concatenate: true}}")
        objectives = "[soft_labels: {temperature: 2, weight: 0.5}, labels: {weight: 0.5}]"
        found, log = self.perplexity(self.recipe(self.gpt2, data, objectives), "causal")
        self.assertLess(found, 200)  # 400 untrained
        self.assertIn("teacher 'teacher' on validation: perplexity", log)
        cache = f", cache: {{folder: {self.folder}/answers, top_k: 20}}"
        kept, log = self.perplexity(self.recipe(self.gpt2, data, objectives, cache), "cached")
        self.assertIn("the 20 most probable tokens", log)
        self.assertLess(abs(math.log(kept / found)), 0.2)

    def test_distilling_sequence_to_sequence(self):
        data = (f"{{task: sequence_to_sequence, train: {self.pairs}, validation: {self.pairs}, "
                "text: text, target: target}")
        objectives = "[soft_labels: {}, labels: {weight: 0.5}, hidden_states: {}]"
        found, _ = self.perplexity(self.recipe(self.t5, data, objectives), "written")
        self.assertLess(found, 200)
        cache = f", cache: {{folder: {self.folder}/answers, top_k: 20}}"
        kept, log = self.perplexity(self.recipe(self.t5, data, "[soft_labels, labels]", cache),
                                    "remembered")
        self.assertIn("the 20 most probable tokens", log)
        self.assertLess(kept, 200)


if __name__ == "__main__":
    unittest.main()
