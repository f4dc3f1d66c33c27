"""Exports of every family load in transformers and compressed-tensors with the outputs of ours.

Small random models that transformers makes are read, quantised and written by us, and read again by
both. Run from the repository root: .venv/bin/python tests/interop/test_export_families.py. The
helper is tests/interop/export_model.cpp; its path may be given in COMPRESS_EXPORT_MODEL.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
import transformers.utils.logging
from safetensors.torch import load_file

transformers.utils.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELPER = os.environ.get("COMPRESS_EXPORT_MODEL", str(ROOT / "build/release/bin/export_model"))

# See test_export.py: int8 results are equal but for float32's last bits, or as far off as
# transformers is from itself when the last bits of its embeddings change.
DENSE = 2e-5
INT8_EQUAL = 1e-5  # of the largest output
LAST_BITS = 1e-6
ROWS = 10
WIDE = dict(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=64)
GROUPED = dict(WIDE, num_key_value_heads=2)
T5 = dict(vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=3,
          num_heads=4, decoder_start_token_id=0)
BART = dict(vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_ffn_dim=48, max_position_embeddings=64)
# Name: class, configuration, modules of transformers that stay as they are.
CASES = {
    "roberta": ("RobertaForMaskedLM", transformers.RobertaConfig(**WIDE),
                {"lm_head.dense", "lm_head.decoder"}),
    "distilbert": ("DistilBertForMaskedLM",
                   transformers.DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=4,
                                                 hidden_dim=48, max_position_embeddings=64),
                   {"vocab_transform", "vocab_projector"}),
    "electra": ("ElectraForMaskedLM", transformers.ElectraConfig(**WIDE, embedding_size=16),
                {"electra.embeddings_project", "generator_predictions.dense", "generator_lm_head"}),
    "llama": ("LlamaForCausalLM", transformers.LlamaConfig(**GROUPED), {"lm_head"}),
    "llama_tied": ("LlamaForCausalLM",
                   transformers.LlamaConfig(**GROUPED, tie_word_embeddings=True), {"lm_head"}),
    "mistral": ("MistralForCausalLM", transformers.MistralConfig(**GROUPED), {"lm_head"}),
    "qwen2": ("Qwen2ForCausalLM", transformers.Qwen2Config(**GROUPED), {"lm_head"}),
    "qwen3": ("Qwen3ForCausalLM", transformers.Qwen3Config(**GROUPED, head_dim=16), {"lm_head"}),
    "t5": ("T5ForConditionalGeneration", transformers.T5Config(**T5), {"lm_head"}),
    "t5_gated": ("T5ForConditionalGeneration",
                 transformers.T5Config(**T5, feed_forward_proj="gated-gelu"), {"lm_head"}),
    "bart": ("BartForConditionalGeneration", transformers.BartConfig(**BART), {"lm_head"}),
    "opt": ("OPTForCausalLM",
            transformers.OPTConfig(vocab_size=60, hidden_size=32, ffn_dim=48, num_hidden_layers=2,
                                   num_attention_heads=4, max_position_embeddings=64,
                                   word_embed_proj_dim=32), {"lm_head"}),
}
# Models whose tables no output layer shares: their embeddings are read as integers.
UNTIED = {
    "bert": ("BertForSequenceClassification", transformers.BertConfig(**WIDE)),
    "roberta": ("RobertaForSequenceClassification", CASES["roberta"][1]),
    "distilbert": ("DistilBertForSequenceClassification", CASES["distilbert"][1]),
    "electra": ("ElectraForSequenceClassification", CASES["electra"][1]),
    "llama": CASES["llama"][:2],
    "mistral": CASES["mistral"][:2],
    "qwen2": CASES["qwen2"][:2],
    "qwen3": CASES["qwen3"][:2],
}
# Those that are read and then fail: a tied output layer, positions with a forward pass of their
# own.
FAILING = {"distilbert_lm": CASES["distilbert"][:2], "llama_tied": CASES["llama_tied"][:2],
           "t5": CASES["t5"][:2], "opt": CASES["opt"][:2]}
GPT2 = ("GPT2LMHeadModel", transformers.GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4,
                                                   n_positions=64, bos_token_id=0, eos_token_id=0))


def helper(*words, fails=False):
    done = subprocess.run([HELPER, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    if fails:
        return done
    if done.returncode != 0:
        raise AssertionError(f"export_model {words} failed: {done.stderr}")
    return json.loads(done.stdout)


class Families(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_grad_enabled(False)
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.root = pathlib.Path(keep.name)

    def source(self, name, kind, config):
        torch.manual_seed(7)
        model = getattr(transformers, kind)(config).eval()
        for parameter in model.parameters():  # initial norms and biases would hide swapped tensors
            parameter.add_(torch.randn_like(parameter) * 0.05)
        model.tie_weights()
        folder = self.root / f"{name}_source"
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")  # copied only
        return model, folder

    def inputs(self, config):
        rows = []
        for i in range(ROWS):
            ids = [3 + (7 * i + 11 * j) % 55 for j in range(2 + i % 4)]
            written = [4 + (5 * i + 3 * j) % 50 for j in range(1 + i % 3)]
            rows.append((ids, written if config.is_encoder_decoder else None))
        return rows

    def ours(self, folder, rows):
        lines = ["# " + " ".join(map(str, ids)) +
                 ("" if written is None else " > " + " ".join(map(str, written)))
                 for ids, written in rows]
        (self.root / "rows").write_text("\n".join(lines) + "\n")
        return [torch.tensor(row.get("token_logits", row.get("logits")))
                for row in helper("outputs", self.root / "rows", folder)[0]]

    def theirs(self, model, row):
        ids, written = row
        if written is None:
            return model(torch.tensor([ids])).logits[0]
        start = model.config.decoder_start_token_id
        return model(input_ids=torch.tensor([ids]),
                     decoder_input_ids=torch.tensor([[start] + written[:-1]])).logits[0]

    def noise(self, model, row):
        before = self.theirs(model, row)
        torch.manual_seed(17)
        hooks = [module.register_forward_hook(
            lambda module, inputs, output: output * (1 + LAST_BITS * torch.randn_like(output)))
            for module in model.modules() if isinstance(module, torch.nn.Embedding)]
        moved = [(self.theirs(model, row) - before).abs().max().item() for _ in range(6)]
        for hook in hooks:
            hook.remove()
        return max(moved)

    def load(self, kind, folder):
        model, info = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
        for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertFalse(info[key], f"{folder.name}: {key}")
        return model.eval()

    def compare(self, name, model, folder, int8):
        rows = self.inputs(model.config)
        differences, scale, noise = [], 0, 0
        for row, found in zip(rows, self.ours(folder, rows), strict=True):
            expected = self.theirs(model, row)
            differences.append((found.reshape(expected.shape) - expected).abs().max().item())
            scale = max(scale, expected.abs().max().item())
            if int8:
                noise = max(noise, self.noise(model, row))
        print(f"{name}: largest difference {max(differences):.2e} of {scale:.2f}, "
              f"noise {noise:.2e}")
        if not int8:
            self.assertLessEqual(max(differences), DENSE * scale, name)
            return
        equal = sum(difference <= INT8_EQUAL * scale for difference in differences)
        self.assertGreaterEqual(equal, ROWS / 2, name)
        self.assertLessEqual(max(differences), max(2 * noise, INT8_EQUAL * scale), name)

    def check_dense(self, name, kind, config):
        model, source = self.source(name, kind, config)
        folder = self.root / f"{name}_dense"
        helper("make", source, folder, "huggingface", "head=keep")
        again = self.load(kind, folder)
        for key, tensor in model.state_dict().items():
            self.assertTrue(torch.equal(tensor, again.state_dict()[key]), f"{name}: {key}")
        self.compare(name + " dense", again, folder, int8=False)
        return source

    def check_int8(self, name, kind, source, kept, *more):
        folder = self.root / f"{name}_int8"
        helper("make", source, folder, "compressed-tensors", "head=keep", *more)
        tensors = load_file(folder / "model.safetensors")
        int8 = {key.removesuffix(".weight") for key in tensors if tensors[key].dtype == torch.int8}
        model = self.load(kind, folder)
        self.compare(f"{name} {more}", model, folder, int8=True)
        linear = {key for key, module in model.named_modules()
                  if isinstance(module, torch.nn.Linear)}
        schemed = {key for key, module in model.named_modules()
                   if getattr(module, "quantization_scheme", None) is not None}
        self.assertEqual(schemed, int8, name)
        self.assertEqual(linear - int8, kept, name)

    def test_every_family(self):
        for name, (kind, config, kept) in CASES.items():
            with self.subTest(name):
                source = self.check_dense(name, kind, config)
                # OPT in transformers makes its states a matrix before the feed-forward unit, and of
                # matrices compressed-tensors 0.20 takes one dynamic scale, not one a token.
                how = "int8=static" if name == "opt" else "int8=dynamic"
                self.check_int8(name, kind, source, kept, how)

    def test_static_inputs(self):
        for name in ("llama", "t5"):
            kind, config, kept = CASES[name]
            with self.subTest(name):
                _, source = self.source(name + "_static", kind, config)
                self.check_int8(name + "_static", kind, source, kept, "int8=static",
                                "granularity=tensor")

    def test_embeddings(self):
        for name, (kind, config) in UNTIED.items():
            with self.subTest(name):
                _, source = self.source(name + "_table", kind, config)
                folder = self.root / f"{name}_table"
                helper("make", source, folder, "compressed-tensors", "head=keep", "rest=bf16",
                       "embeddings=int8")
                tensors = load_file(folder / "model.safetensors")
                tables = {key.removesuffix(".weight") for key in tensors
                          if tensors[key].dtype == torch.int8}
                model = self.load(kind, folder)
                schemed = {key for key, module in model.named_modules()
                           if getattr(module, "quantization_scheme", None) is not None}
                self.assertEqual(schemed, tables)
                self.assertEqual({tensor.dtype for tensor in tensors.values()},
                                 {torch.int8, torch.float32, torch.bfloat16})
                self.compare(name + " tables", model, folder, int8=False)
                # The packed folder is the same one after tools/unpack.py.
                packed = self.root / f"{name}_packed"
                helper("make", source, packed, "packed", "head=keep", "rest=bf16",
                       "embeddings=int8")
                unpacked = self.root / f"{name}_unpacked"
                subprocess.run([sys.executable, str(ROOT / "tools/unpack.py"), packed, unpacked],
                               check=True)
                for path in folder.iterdir():
                    self.assertEqual((unpacked / path.name).read_bytes(), path.read_bytes())

    def test_packed_blocks(self):
        """A bit a block of four inputs, also where a family's matrices lie as [in, out]."""
        for name, (kind, config), shape in (("llama", CASES["llama"][:2], [1, 4]),
                                            ("gpt2", GPT2, [4, 1])):
            with self.subTest(name):
                _, source = self.source(name + "_blocks", kind, config)
                folders = {}
                for layout in ("huggingface", "packed"):
                    folders[layout] = self.root / f"{name}_blocks_{layout}"
                    helper("make", source, folders[layout], layout, "head=keep", "sparsity=0.8",
                           "inputs=4")
                sys.path.insert(0, str(ROOT / "tools"))
                import unpack
                packed = (folders["packed"] / "model.packed").read_bytes()
                size = int.from_bytes(packed[8:16], "little")
                directory = json.loads(unpack.libzstd()(packed[16:16 + size], None))
                shapes = [entry[2] for entry in directory["tensors"] if entry[0] == "blocks"]
                self.assertGreaterEqual(len(shapes), 8)
                self.assertEqual(set(map(tuple, shapes)), {tuple(shape)})
                unpacked = self.root / f"{name}_blocks_unpacked"
                subprocess.run([sys.executable, str(ROOT / "tools/unpack.py"), folders["packed"],
                                unpacked], check=True)
                self.assertEqual((unpacked / "model.safetensors").read_bytes(),
                                 (folders["huggingface"] / "model.safetensors").read_bytes())

    def test_layers_and_embeddings_together(self):
        for name in ("bert", "llama"):
            with self.subTest(name):
                kind, config = UNTIED[name]
                _, source = self.source(name + "_both", kind, config)
                folder = self.root / f"{name}_both"
                helper("make", source, folder, "compressed-tensors", "head=keep", "rest=bf16",
                       "int8=dynamic", "embeddings=int8")
                tensors = load_file(folder / "model.safetensors")
                held = {key.removesuffix(".weight") for key in tensors
                        if tensors[key].dtype == torch.int8}
                model = self.load(kind, folder)
                schemed = {key: type(module) for key, module in model.named_modules()
                           if getattr(module, "quantization_scheme", None) is not None}
                self.assertEqual(set(schemed), held)
                self.assertEqual(set(schemed.values()), {torch.nn.Linear, torch.nn.Embedding})
                self.compare(f"{name} layers and tables", model, folder, int8=True)

    def test_embeddings_that_readers_cannot_use(self):
        for name, (kind, config) in FAILING.items():
            with self.subTest(name):
                _, source = self.source(name + "_table", kind, config)
                folder = self.root / f"{name}_table"
                done = helper("make", source, folder, "compressed-tensors", "head=keep",
                              "embeddings=int8", fails=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("fails in the first forward pass", done.stderr + done.stdout)
                model = getattr(transformers, kind).from_pretrained(folder).eval()
                with self.assertRaises((RuntimeError, TypeError, AttributeError)):
                    self.theirs(model, self.inputs(model.config)[0])

    def test_gpt2(self):
        kind, config = GPT2
        source = self.check_dense("gpt2", kind, config)
        done = helper("make", source, self.root / "refused", "compressed-tensors", "head=keep",
                      "int8=dynamic", fails=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Conv1D", done.stderr)
        self.assertFalse((self.root / "refused").exists())
        # Dense weights on the int8 grid: transposed again on disk.
        folder = self.root / "gpt2_grid"
        helper("make", source, folder, "huggingface", "head=keep", "int8=dynamic")
        self.compare("gpt2 grid", self.load(kind, folder), folder, int8=False)


if __name__ == "__main__":
    unittest.main()
