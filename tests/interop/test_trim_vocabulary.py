"""Tokenizers with fewer tokens: the reference library reads the folders that are written, says the
same ids as we do on 100,000 lines of each kind (of half of them the same offsets and decoded text,
too), and texts whose tokens were all kept have the same tokens as before. The last test trims a
model's vocabulary in a recipe and loads what it exports.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_trim_vocabulary.py
The helper is build/release/bin/encode_lines, or what COMPRESS_ENCODE_LINES names, the program
build/release/bin/compress, or what COMPRESS_BIN names; texts and tokenizers are those of
tools/fetch.
"""

import json
import os
import shutil
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
DESCRIPTIONS = 20_000  # that are compared in all they say, beside sentences and odd strings
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
            texts = self.texts(share)
            whole = len(self.sentences) + len(self.odd) + DESCRIPTIONS
            now = self.check(out, after, texts, whole=whole)
            self.check_same(before, lines.encode(folder, texts[:whole]), now, kept, size)
            self.assertEqual(sorted(os.listdir(out)), sorted(
                each for each in os.listdir(folder) if each in os.listdir(out)))
            for each in os.listdir(folder):
                if each.startswith(("vocab", "merges", "tokenizer", "spiece", "sentencep")):
                    self.assertIn(each, os.listdir(out))

    def check_same(self, before, old, now, kept, size):
        """The texts of `old` whose tokens are all kept, less those with unknown words."""
        renamed = np.full(max(size, int(kept.max()) + 1), -1)
        renamed[kept] = np.arange(len(kept))
        unknown = {before.token_to_id(token) for token in ("[UNK]", "<unk>")} - {None}
        ids = np.where(np.isin(old.ids, list(unknown)), -1, renamed[old.ids])
        same = 0
        for text, row, new in zip(old.texts, np.split(ids, np.cumsum(old.counts)),
                                  np.split(now.ids, np.cumsum(now.counts))):
            if (row < 0).any():
                continue
            self.assertEqual(row.tolist(), new.tolist(), text)
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


BERT = dict(vocab_size=30522, hidden_size=16, num_attention_heads=2, num_hidden_layers=2,
            intermediate_size=32, max_position_embeddings=64, pad_token_id=0)
ENDS = dict(bos_token_id=101, eos_token_id=102)
MASKED = ("task: unlabelled", ", head: masked_lm", ", augment: {masking: {}}")
CAUSAL = ("task: language_model", "", "")
PAIRS = ("task: sequence_to_sequence, target: label", "", "")
MODELS = {
    "bert": ("BertForMaskedLM", BERT, MASKED),
    "roberta": ("RobertaForMaskedLM", BERT | {"type_vocab_size": 1}, MASKED),
    "distilbert": ("DistilBertForMaskedLM", dict(
        vocab_size=30522, dim=16, n_heads=2, n_layers=2, hidden_dim=32, max_position_embeddings=64,
        pad_token_id=0), MASKED),
    "electra": ("ElectraForMaskedLM", BERT | {"embedding_size": 8}, MASKED),
    "gpt2": ("GPT2LMHeadModel", dict(vocab_size=30522, n_embd=16, n_head=2, n_layer=2,
                                     n_positions=64, pad_token_id=0) | ENDS, CAUSAL),
    "llama": ("LlamaForCausalLM", BERT | ENDS, CAUSAL),
    "t5": ("T5ForConditionalGeneration", dict(
        vocab_size=30528, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, pad_token_id=0,
        eos_token_id=102, decoder_start_token_id=0), PAIRS),
    "bart": ("BartForConditionalGeneration", dict(
        vocab_size=30522, d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, decoder_ffn_dim=32,
        max_position_embeddings=64, pad_token_id=0, decoder_start_token_id=102,
        forced_eos_token_id=102) | ENDS, PAIRS),
}
FAMILY_RECIPE = """\
name: trimmed
data:
  d: {train: data/products/train.tsv, text: sentence, TASK, limit: 40, max_length: 40}
stages:
  - name: s
    train: {model: {from: MODEL, trim_vocabulary: dHEAD}, data: d, for: 1 step, batch: 4,
            precision: float32, optimizer: {sgd: {lr: 1e-12}}AUGMENT}
"""


class Models(unittest.TestCase):
    """A trimmed model says of the kept tokens what the model said before."""

    def check(self, kind, settings, task):
        import torch
        import transformers
        maker = getattr(transformers, kind)
        old_words = transformers.AutoTokenizer.from_pretrained(ROOT / "models/all-MiniLM-L6-v2")
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(13)
            before = maker(maker.config_class(**settings)).eval()
            for name, values in before.named_buffers():
                if name == "final_logits_bias":
                    values.copy_(torch.randn_like(values))
            for name, values in before.named_parameters():
                if name.endswith("bias"):
                    torch.nn.init.normal_(values)
            before.save_pretrained(f"{folder}/model")
            for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
                shutil.copy(ROOT / "models/all-MiniLM-L6-v2" / file, f"{folder}/model")
            text = FAMILY_RECIPE
            for key, value in zip(("TASK", "HEAD", "AUGMENT", "MODEL"),
                                  (*task, f"{folder}/model")):
                text = text.replace(key, value)
            Path(folder, "recipe.yaml").write_text(text)
            done = subprocess.run(
                [BINARY, "run", f"{folder}/recipe.yaml", "--out", f"{folder}/run"], cwd=ROOT,
                capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            out = f"{folder}/run/stages/s/model"
            after = maker.from_pretrained(out).eval()
            words = transformers.AutoTokenizer.from_pretrained(out)
            self.assertEqual(after.config.vocab_size, len(words))
            self.assertLess(len(words), 10_000)
            for role in ("bos", "eos", "pad", "decoder_start", "forced_eos"):
                then = getattr(before.config, f"{role}_token_id", None)
                now = getattr(after.config, f"{role}_token_id", None)
                if then is not None:
                    self.assertEqual(old_words.convert_ids_to_tokens(then),
                                     words.convert_ids_to_tokens(now), role)
            kept = old_words.convert_tokens_to_ids(words.convert_ids_to_tokens(range(len(words))))
            rows = (ROOT / "data/products/train.tsv").read_text(encoding="utf-8").split("\n")
            for row in rows[1:20]:
                said = []
                for tokenizer, model in ((old_words, before), (words, after)):
                    batch = tokenizer([row.split("\t")[2]], return_tensors="pt", truncation=True,
                                      max_length=40, return_token_type_ids=False)
                    if task is PAIRS:
                        batch["decoder_input_ids"] = batch["input_ids"]
                    with torch.no_grad():
                        said.append(model(**batch).logits)
                self.assertTrue(torch.allclose(said[0][..., kept], said[1], atol=1e-4), row)


def add_model(name, parts):
    def test(self):
        self.check(*parts)
    setattr(Models, f"test_{name}", test)


for each, parts_of_one in MODELS.items():
    add_model(each, parts_of_one)


if __name__ == "__main__":
    unittest.main()
