"""Models of named sizes: transformers loads what a recipe initialised, with the sizes that were
asked for, and its own initialiser draws weights of the same spread.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_initialise.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
# Waiting threads of OpenMP sleep instead of spinning: other programs may share the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
TOKENIZER = ROOT / "models/all-MiniLM-L6-v2"
HEADS = ("classifier", "score", "classification_head", "pre_classifier")

BERT = dict(vocab_size=30522, hidden_size=16, num_attention_heads=2, num_hidden_layers=2,
            intermediate_size=32, max_position_embeddings=64, pad_token_id=0)
SIZES = "layers: 3, hidden_size: 64, heads: 4, intermediate_size: 96"
ENCODER = dict(num_hidden_layers=3, hidden_size=64, num_attention_heads=4, intermediate_size=96)
# The family, its small model, what the recipe asks for, and what config.json says then.
FAMILIES = {
    "bert": ("Bert", BERT, SIZES, ENCODER),
    "roberta": ("Roberta", BERT | {"type_vocab_size": 1}, SIZES, ENCODER),
    "electra": ("Electra", BERT | {"embedding_size": 16}, SIZES + ", embedding_size: 24",
                ENCODER | {"embedding_size": 24}),
    "distilbert": ("DistilBert", dict(vocab_size=30522, dim=16, n_heads=2, n_layers=2,
                                      hidden_dim=32, max_position_embeddings=64, pad_token_id=0),
                   SIZES, dict(n_layers=3, dim=64, n_heads=4, hidden_dim=96)),
    "gpt2": ("GPT2", dict(vocab_size=30522, n_embd=16, n_head=2, n_layer=2, n_positions=64,
                          pad_token_id=0, bos_token_id=101, eos_token_id=102),
             SIZES, dict(n_layer=3, n_embd=64, n_head=4, n_inner=96)),
    "opt": ("OPT", dict(vocab_size=30522, hidden_size=16, word_embed_proj_dim=16, ffn_dim=32,
                        num_attention_heads=2, num_hidden_layers=2, max_position_embeddings=64,
                        pad_token_id=0, bos_token_id=101, eos_token_id=102),
            SIZES, dict(num_hidden_layers=3, hidden_size=64, ffn_dim=96, word_embed_proj_dim=64)),
    "llama": ("Llama", BERT | dict(num_key_value_heads=1, bos_token_id=101, eos_token_id=102),
              SIZES, ENCODER | {"num_key_value_heads": 2}),
    "t5": ("T5", dict(vocab_size=30522, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
                      pad_token_id=0, eos_token_id=102, decoder_start_token_id=0),
           SIZES + ", decoder_layers: 1",
           dict(num_layers=3, num_decoder_layers=1, d_model=64, d_kv=16, d_ff=96)),
    "bart": ("Bart", dict(vocab_size=30522, d_model=16, encoder_layers=2, decoder_layers=2,
                          encoder_ffn_dim=32, encoder_attention_heads=2, decoder_ffn_dim=32,
                          decoder_attention_heads=2, max_position_embeddings=64, pad_token_id=0,
                          bos_token_id=101, eos_token_id=102, decoder_start_token_id=102,
                          forced_eos_token_id=None),
             SIZES + ", decoder_layers: 1",
             dict(encoder_layers=3, decoder_layers=1, d_model=64, decoder_ffn_dim=96)),
}

RECIPE = """\
name: fresh
data:
  d: {{train: data/products/train.tsv, text: sentence, label: label, limit: 16, max_length: 32}}
stages:
  - name: s
    train:
      model: {{from: {model}, initialise: {{{sizes}}}}}
      data: d
      for: 1 step
      batch: 4
      precision: float32
      optimizer: {{adamw: {{lr: 1e-12, weight_decay: 0}}}}
"""


class Initialise(unittest.TestCase):
    def fresh(self, folder, kind, settings, sizes):
        torch.manual_seed(13)
        model = getattr(transformers, f"{kind}ForSequenceClassification")
        model(model.config_class(**settings)).save_pretrained(f"{folder}/model")
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(TOKENIZER / file, f"{folder}/model")
        Path(folder, "recipe.yaml").write_text(
            RECIPE.format(model=f"{folder}/model", sizes=sizes))
        done = subprocess.run([BINARY, "run", f"{folder}/recipe.yaml", "--out", f"{folder}/run"],
                              cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return model, f"{folder}/run/stages/s/model"

    def check(self, kind, settings, sizes, said):
        with tempfile.TemporaryDirectory() as folder:
            model, path = self.fresh(folder, kind, settings, sizes)
            ours, report = model.from_pretrained(path, output_loading_info=True)
            for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
                self.assertFalse(report[problem], report)
            for key, value in said.items():
                self.assertEqual(getattr(ours.config, key), value, key)
            torch.manual_seed(7)
            theirs = dict(model(ours.config).named_parameters())
            self.assertEqual(set(theirs), set(dict(ours.named_parameters())))
            for name, values in ours.named_parameters():
                if any(part in HEADS for part in name.split(".")):
                    continue
                with self.subTest(name):
                    self.compare(values.detach(), theirs[name].detach())

    def compare(self, ours, theirs):
        self.assertEqual(ours.shape, theirs.shape)
        if (theirs == theirs.flatten()[0]).all():
            self.assertTrue(torch.allclose(ours, theirs, atol=1e-6))
        elif ours.numel() >= 1000:
            ratio = (ours.square().mean() / theirs.square().mean()).sqrt()
            self.assertLess(abs(ratio - 1), 0.1)
            empty = ours.dim() == 2 and (ours[0] == 0).all()
            if ours.dim() == 2 and ours.shape[0] == 30522:
                self.assertEqual(bool(empty), bool((theirs[0] == 0).all()))


def add_family(name, parts):
    def test(self):
        self.check(*parts)
    setattr(Initialise, f"test_{name}", test)


for each, entry in FAMILIES.items():
    add_family(each, entry)


if __name__ == "__main__":
    unittest.main()
