"""Tokenizers with fewer tokens: the reference library reads the folders that are written, says the
same ids as we do on 100,000 lines of each kind, and texts whose tokens were all kept have the same
tokens as before. The last test trims a model's vocabulary in a recipe and loads what it exports.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_trim_vocabulary.py
The helper is build/release/bin/encode_lines, or what COMPRESS_ENCODE_LINES names, the program
build/release/bin/compress, or what COMPRESS_BIN names; texts and tokenizers are those of
tools/fetch.
"""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models

from tests.interop import test_tokenizer as common
from tests.interop import test_tokenizer_lines as lines

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
# Waiting threads of OpenMP sleep instead of spinning: other programs may share the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
TIMES = 3  # a token must occur so often to stay ...
FEWER = 5  # ... in every fifth of the lines that tokenizers are trained on
CLASSES = {"gpt2": "GPT2Tokenizer", "mistral": "LlamaTokenizer", "t5_files": "T5Tokenizer",
           "xlm_roberta_files": "XLMRobertaTokenizer", "llama_files": "LlamaTokenizer"}
# smollm2 is a GGUF file; llama3 and roberta stand for the other two.
LEFT_OUT = ["smollm2", "qwen2", "byte_level_normalizer"]


def reference_of(folder, name):
    if name in CLASSES and not Path(folder, "tokenizer.json").exists():
        import transformers
        return getattr(transformers, CLASSES[name]).from_pretrained(folder)._tokenizer
    reference = Tokenizer.from_file(f"{folder}/tokenizer.json")
    reference.no_padding()
    reference.no_truncation()
    model = json.loads(Path(folder, "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if model["type"] == "Unigram":
        # The library's own parser rounds some scores to a neighbour, which decides between cuts
        # that score alike ("0" "00", "00" "0").
        reference.model = models.Unigram([tuple(piece) for piece in model["vocab"]],
                                         model["unk_id"], model.get("byte_fallback", False))
    return reference


class Trimmed(lines.WithLines):
    def trim(self, folder, texts, out):
        done = subprocess.run([common.HELPER, folder, "--trim", str(TIMES), out],
                              input="".join(text + "\n" for text in texts).encode(),
                              stdout=subprocess.PIPE, check=True)
        return np.array(done.stdout.split(), np.int64)

    def check_trimmed(self, folder, before, name, share):
        size = before.get_vocab_size()
        with tempfile.TemporaryDirectory() as out:
            kept = self.trim(folder, self.training[::FEWER], out)
            after = reference_of(out, name)
            self.assertEqual(after.get_vocab_size(), len(kept))
            self.assertLess(len(kept), size)
            for now, old in enumerate(kept):
                self.assertEqual(after.id_to_token(now), before.id_to_token(int(old)))
            self.check(out, after, share, None)
            self.check_same(before, after, kept, size)
            self.assertEqual(sorted(os.listdir(out)), sorted(
                each for each in os.listdir(folder) if each in os.listdir(out)))
            for each in os.listdir(folder):
                if each.startswith(("vocab", "merges", "tokenizer", "spiece", "sentencep")):
                    self.assertIn(each, os.listdir(out))

    def check_same(self, before, after, kept, size):
        """Texts whose tokens are all kept, less those with unknown words."""
        renamed = np.full(max(size, int(kept.max()) + 1), -1)
        renamed[kept] = np.arange(len(kept))
        unknown = {before.token_to_id(token) for token in ("[UNK]", "<unk>")} - {None}
        texts = self.sentences + self.descriptions[:20_000] + self.odd
        same = 0
        for text, old, new in zip(texts, before.encode_batch(texts), after.encode_batch(texts)):
            ids = renamed[np.array(old.ids, np.int64)]
            if (ids < 0).any() or unknown & set(old.ids):
                continue
            self.assertEqual(ids.tolist(), new.ids, text)
            same += 1
        self.assertGreater(same, 100)


def add_kind(name, make, share):
    def test(self):
        with tempfile.TemporaryDirectory() as folder:
            path, reference = make(folder, self.training)
            self.check_trimmed(path, reference, name, share)
    setattr(Trimmed, f"test_{name}", test)


ALL = [entry for entry in lines.ALL if entry[0] not in LEFT_OUT]
for number, (each, maker) in enumerate(ALL):
    add_kind(each, maker, number / len(ALL))


RECIPE = """\
name: trimmed
data:
  reviews: {train: data/products/train.tsv, validation: data/products/dev.tsv, text: sentence,
            label: label, limit: 400}
stages:
  - name: small
    train:
      model: {from: models/all-MiniLM-L6-v2, trim_vocabulary: {data: reviews}}
      data: reviews
      for: 1 step
      batch: 8
      precision: float32
  - name: release
    export: {model: small, formats: [huggingface]}
"""


class Recipe(unittest.TestCase):
    def test_transformers_loads_a_trimmed_model(self):
        import torch
        import transformers
        rows = ROOT / "data/products/train.tsv"
        if not rows.exists():
            raise AssertionError("data/products is missing: run tools/fetch")
        sentence = rows.read_text(encoding="utf-8").split("\n")[1].split("\t")[2]
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder, "recipe.yaml")
            recipe.write_text(RECIPE)
            done = subprocess.run([BINARY, "run", recipe, "--out", f"{folder}/run"], cwd=ROOT,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            out = f"{folder}/run/stages/release/huggingface"
            config = json.loads(Path(out, "config.json").read_text())
            tokenizer = transformers.AutoTokenizer.from_pretrained(out)
            self.assertEqual(len(tokenizer), config["vocab_size"])
            self.assertLess(config["vocab_size"], 10_000)
            model = transformers.AutoModelForSequenceClassification.from_pretrained(out)
            table = model.get_input_embeddings().weight
            self.assertEqual(table.shape[0], config["vocab_size"])
            old = transformers.AutoTokenizer.from_pretrained(ROOT / "models/all-MiniLM-L6-v2")
            self.assertEqual(tokenizer.tokenize(sentence), old.tokenize(sentence))
            before = transformers.AutoModel.from_pretrained(ROOT / "models/all-MiniLM-L6-v2")
            words = before.get_input_embeddings().weight
            for token in tokenizer.tokenize(sentence):
                now, then = (each.convert_tokens_to_ids(token) for each in (tokenizer, old))
                self.assertTrue(torch.allclose(table[now], words[then], atol=1e-3), token)
            with torch.no_grad():
                logits = model(**tokenizer([sentence], return_tensors="pt")).logits
            self.assertTrue(torch.isfinite(logits).all())


if __name__ == "__main__":
    unittest.main()
