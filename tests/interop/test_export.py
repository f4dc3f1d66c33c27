"""Folders that compress writes load in transformers and compressed-tensors, and the other way.

Run from the repository root: .venv/bin/python tests/interop/test_export.py. The helper that writes
and reads is tests/interop/export_model.cpp; its path may be given in COMPRESS_EXPORT_MODEL.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
import transformers.utils.logging
from safetensors.torch import load_file, save_file

transformers.utils.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELPER = os.environ.get("COMPRESS_EXPORT_MODEL", str(ROOT / "build/release/bin/export_model"))
SOURCE = ROOT / "models/all-MiniLM-L6-v2"
SENTENCES = 16

# float32 against float32: only the order of sums differs.
DENSE = 1e-5
# int8: both sides quantise activations by the same rule, but where the last bits of the float32
# sums before it differ, now and then a value next to a rounding border falls to the other side.
# Later layers then round other values, and the result ends somewhere within the noise of int8. So
# results are either equal but for float32's last bits or a few percent apart. Of short texts, which
# meet few borders, at least half must be equal (another scale, zero point or rounding rule leaves
# none), and none may be further off than twice what transformers is from itself when its
# embeddings' last bits are changed.
INT8_EQUAL = 1e-5  # of the largest output
LAST_BITS = 1e-6  # relative
DRAWS = 6


def helper(*words):
    done = subprocess.run([HELPER, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise AssertionError(f"export_model {words} failed: {done.stderr}")
    return json.loads(done.stdout)


def sentences():
    """Whole sentences, then their first three words."""
    lines = (ROOT / "data/movies/test.tsv").read_text(encoding="utf-8").splitlines()
    column = lines[0].split("\t").index("sentence")
    whole = [line.split("\t")[column] for line in lines[1 : SENTENCES + 1]]
    return whole + [" ".join(line.split()[:3]) for line in whole]


class Folder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_grad_enabled(False)
        cls.keep = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.keep.name)
        cls.addClassCleanup(cls.keep.cleanup)

    def difference(self, ours, theirs):
        return (
            (torch.tensor(ours, dtype=torch.float64).reshape(theirs.shape) - theirs.double())
            .abs()
            .max()
            .item()
        )

    def assert_dense(self, ours, theirs, what):
        self.assertLessEqual(self.difference(ours, theirs), DENSE, what)

    def assert_int8(self, short, differences, scale, noise, what):
        equal = sum(difference <= INT8_EQUAL * scale for difference in short)
        self.assertGreaterEqual(equal, len(short) / 2, what)
        self.assertLessEqual(max(differences), max(2 * noise, INT8_EQUAL * scale), what)

    def own_noise(self, model, run):
        """How far `run` moves when the last bits of the embeddings' output change."""
        embeddings = next(m for name, m in model.named_modules() if name.endswith("embeddings"))
        before = run()
        torch.manual_seed(17)
        hook = embeddings.register_forward_hook(
            lambda module, inputs, output: output * (1 + LAST_BITS * torch.randn_like(output))
        )
        moved = [(run() - before).abs().max().item() for _ in range(DRAWS)]
        hook.remove()
        return max(moved)

    def load_theirs(self, kind, folder):
        model, info = kind.from_pretrained(folder, output_loading_info=True)
        for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertFalse(info[key], f"{folder.name}: {key}")
        return model.eval()


@unittest.skipUnless(
    SOURCE.exists() and (ROOT / "data/movies").exists(), "needs the fetched model and data"
)
class TheyReadOurs(Folder):
    """A pruned classifier of the real model on real sentences."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lines = sentences()
        cls.file = cls.root / "sentences.txt"
        cls.file.write_text("\n".join(cls.lines) + "\n", encoding="utf-8")

    def check(self, name, make_options, file_format, int8=False):
        folder = self.root / name
        report = helper("make", SOURCE, folder, file_format, *make_options)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        self.assertEqual(report["bytes"], sum(sizes))
        ours = helper("outputs", self.file, folder)[0]
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = self.load_theirs(transformers.AutoModelForSequenceClassification, folder)
        self.assertEqual(model.config.id2label, {0: "negative", 1: "positive"})
        differences, noise = [], 0
        for line, row in zip(self.lines, ours, strict=True):
            encoded = tokenizer(line, truncation=True, max_length=128, return_tensors="pt")
            self.assertEqual(encoded["input_ids"][0].tolist(), row["ids"])
            differences.append(self.difference(row["logits"], model(**encoded).logits[0]))
            if int8:
                noise = max(noise, self.own_noise(model, lambda e=encoded: model(**e).logits[0]))
        scale = max(abs(value) for row in ours for value in row["logits"])
        print(
            f"{name}: largest difference {max(differences):.2e}, median of short texts "
            f"{sorted(differences[SENTENCES:])[SENTENCES // 2]:.2e}, logits up to {scale:.2f}, "
            f"transformers' own noise {noise:.2e}"
        )
        if int8:
            self.assert_int8(differences[SENTENCES:], differences, scale, noise, name)
        else:
            self.assertLessEqual(max(differences), DENSE, name)
        return folder, model

    def assert_sparse(self, tensors, encoder, share):
        for name in encoder:
            zeros = (tensors[name] == 0).double().mean().item()
            self.assertGreaterEqual(zeros, share, name)

    def test_dense(self):
        folder, model = self.check("dense", ["sparsity=0.8"], "huggingface")
        tensors = load_file(folder / "model.safetensors")
        matrices = [
            name for name in tensors if name.endswith(".weight") and tensors[name].dim() == 2
        ]
        encoder = [name for name in matrices if ".encoder." in name]
        self.assertEqual(len(encoder), 36)
        self.assert_sparse(tensors, encoder, 0.799)
        for name, tensor in model.state_dict().items():
            self.assertTrue(torch.equal(tensor, tensors[name]), name)
            self.assertFalse(
                (torch.signbit(tensor) & (tensor == 0)).any(), f"{name} has negative zeros"
            )

    def test_dense_of_int8(self):
        # transformers has no quantised activations here, nor has our loader of this folder.
        self.check("dense_of_int8", ["sparsity=0.8", "int8=dynamic"], "huggingface")

    def check_int8(self, name, *more):
        folder, model = self.check(name, ["sparsity=0.8", *more], "compressed-tensors", int8=True)
        tensors = load_file(folder / "model.safetensors")
        int8 = [tensor for tensor in tensors if tensors[tensor].dtype == torch.int8]
        self.assertEqual(len(int8), 36)
        self.assert_sparse(tensors, int8, 0.799)
        loaded = dict(model.named_modules())
        for weight in int8:  # decompressed at the first forward pass
            expected = tensors[weight].float() * tensors[weight + "_scale"]
            self.assertTrue(
                torch.equal(loaded[weight.removesuffix(".weight")].weight.data.float(), expected),
                weight,
            )
        schemed = {
            name
            for name, module in loaded.items()
            if getattr(module, "quantization_scheme", None) is not None
        }
        self.assertEqual(schemed, {weight.removesuffix(".weight") for weight in int8})

    def test_int8(self):
        self.check_int8("int8", "int8=dynamic")

    def test_int8_static_inputs_and_tensor_scales(self):
        self.check_int8("int8_static", "int8=static", "granularity=tensor")

    def test_int8_without_a_classifier(self):
        for kind in ("BertModel", "BertForMaskedLM"):
            config = transformers.BertConfig(
                vocab_size=60,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=24,
            )
            torch.manual_seed(3)
            model = getattr(transformers, kind)(config)
            source = self.root / f"small_{kind}"
            model.save_pretrained(source)
            for file in ("vocab.txt", "tokenizer.json"):
                (source / file).write_bytes((SOURCE / file).read_bytes())
            helper(
                "make", source, self.root / kind, "compressed-tensors", "int8=dynamic", "head=keep"
            )
            again = self.load_theirs(getattr(transformers, kind), self.root / kind)
            texts = [[2, 5 + i, 17 + i, 41 - i, 3] for i in range(12)]
            (self.root / "ids.txt").write_text(
                "".join("# " + " ".join(map(str, ids)) + "\n" for ids in texts)
            )
            ours = helper("outputs", self.root / "ids.txt", self.root / kind)[0]
            differences, scale, noise = [], 0, 0
            for row, ids in zip(ours, texts, strict=True):

                def run(tokens=ids, model=again, hidden=kind == "BertModel"):
                    out = model(torch.tensor([tokens]))
                    return out.last_hidden_state if hidden else out.logits

                theirs = run()
                noise = max(noise, self.own_noise(again, run))
                differences.append(
                    self.difference(
                        row["hidden" if kind == "BertModel" else "token_logits"], theirs
                    )
                )
                scale = max(scale, theirs.abs().max().item())
            self.assert_int8(differences, differences, scale, noise, kind)


class WeReadTheirs(Folder):
    """Small random BERTs as transformers saves them."""

    ROWS = [
        "# 2 17 41 8 59 3",
        "# 2 3",
        "# 2 " + " ".join(str(5 + i * 7 % 50) for i in range(20)) + " 3",
    ]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = cls.root / "ids.txt"
        cls.file.write_text("\n".join(cls.ROWS) + "\n")

    def model(self, kind, name, save=None, **options):
        torch.manual_seed(5)
        settings = dict(
            vocab_size=60,
            hidden_size=24,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=40,
            max_position_embeddings=32,
        )
        config = transformers.BertConfig(**{**settings, **options})
        model = getattr(transformers, kind)(config).eval()
        for (
            parameter
        ) in model.parameters():  # the initial norms and biases would hide swapped tensors
            parameter.add_(torch.randn_like(parameter) * 0.2)
        model.tie_weights()
        folder = self.root / name
        model.save_pretrained(folder, **(save or {}))
        return model, folder

    def rows(self, folder, *options):
        ours = helper("outputs", self.file, folder, *options)[0]
        return [(row, torch.tensor([row["ids"]])) for row in ours]

    def check_classifiers(self, cases, rename=None, save=None):
        models, folders = [], []
        for name, options in cases.items():
            model, folder = self.model("BertForSequenceClassification", name, save=save, **options)
            if rename:
                tensors = load_file(folder / "model.safetensors")
                renamed = {rename[name](key): value for key, value in tensors.items()}
                save_file(renamed, folder / "model.safetensors", {"format": "pt"})
            models.append(model)
            folders.append(folder)
        for name, model, rows in zip(
            cases, models, helper("outputs", self.file, *folders), strict=True
        ):
            for row in rows:
                self.assert_dense(row["logits"], model(torch.tensor([row["ids"]])).logits, name)

    def test_activations_and_sizes(self):
        cases = {
            activation: dict(hidden_act=activation)
            for activation in ("gelu", "gelu_new", "relu", "silu")
        }
        cases["eps"] = dict(layer_norm_eps=1e-3)
        cases["types"] = dict(type_vocab_size=1)
        cases["three"] = dict(num_labels=3)
        cases["regression"] = dict(num_labels=1)
        self.check_classifiers(cases)

    def test_names(self):
        def old(key):
            return key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )

        def bare(key):
            return key.removeprefix("bert.")

        rename = {
            "gamma": old,
            "bare": bare,
            "mixed": lambda key: bare(key) if "layer.1" in key else old(key),
        }
        self.check_classifiers({name: {} for name in rename}, rename=rename)

    def test_shards(self):
        self.check_classifiers({"shards": {}}, save={"max_shard_size": "20KB"})
        self.assertTrue((self.root / "shards/model.safetensors.index.json").exists())

    def test_torch_files(self):
        for name, zipped in (("zip", True), ("stream", False)):
            model, folder = self.model("BertForSequenceClassification", name)
            (folder / "model.safetensors").unlink()
            torch.save(
                model.state_dict(),
                folder / "pytorch_model.bin",
                _use_new_zipfile_serialization=zipped,
            )
            for row, ids in self.rows(folder):
                self.assert_dense(row["logits"], model(ids).logits, name)

    def test_sentence_transformers(self):
        model, folder = self.model("BertModel", "sentence")
        dense = torch.nn.Linear(24, 7)
        names = ("Transformer", "Pooling", "Dense")
        modules = [
            {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"x.{name}"}
            for i, name in enumerate(names)
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling/config.json").write_text(
            json.dumps({"word_embedding_dimension": 24, "pooling_mode_cls_token": True})
        )
        (folder / "2_Dense").mkdir()
        (folder / "2_Dense/config.json").write_text(
            json.dumps(
                {
                    "in_features": 24,
                    "out_features": 7,
                    "bias": True,
                    "activation_function": "torch.nn.modules.linear.Identity",
                }
            )
        )
        weights = {f"linear.{key}": value for key, value in dense.state_dict().items()}
        save_file(weights, folder / "2_Dense/model.safetensors")
        (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")  # copied only
        out = self.root / "sentence_out"
        helper("make", folder, out, "huggingface", "head=keep")
        for place in (folder, out):
            for row, ids in self.rows(place):
                states = model(ids).last_hidden_state[:, 0]
                self.assert_dense(row["pooled"], dense(states), "embedding")
        # transformers sees a plain model, and sentence-transformers the same modules, by name.
        again, info = transformers.AutoModel.from_pretrained(out, output_loading_info=True)
        self.assertFalse(info["unexpected_keys"])
        self.assertTrue(all(key.startswith("pooler.") for key in info["missing_keys"]))
        written = load_file(out / "2_Dense/model.safetensors")
        for key, value in weights.items():
            self.assertTrue(torch.equal(written[key], value), key)
        types = [entry["type"] for entry in json.loads((out / "modules.json").read_text())]
        self.assertEqual(types, [f"x.{name}" for name in names])

    def test_half(self):
        model, folder = self.model("BertForSequenceClassification", "half_source")
        model.half().save_pretrained(self.root / "half")
        model.float()  # the same values
        for row, ids in self.rows(self.root / "half"):
            self.assert_dense(row["logits"], model(ids).logits, "half")

    def test_masked_lm(self):
        model, folder = self.model("BertForMaskedLM", "masked")
        for row, ids in self.rows(folder):
            self.assert_dense(row["token_logits"], model(ids).logits, "masked")

    def test_pre_training(self):
        model, folder = self.model("BertForPreTraining", "pre_training")
        for row, ids in self.rows(folder):
            theirs = model(ids)
            self.assert_dense(row["token_logits"], theirs.prediction_logits, "pre-training")
            self.assert_dense(
                row["heads"]["next_sentence"], theirs.seq_relationship_logits, "next sentence"
            )

    def test_pre_training_is_written_as_such(self):
        model, folder = self.model("BertForPreTraining", "pre_training_again")
        for file in ("vocab.txt", "tokenizer.json"):
            (folder / file).write_bytes((SOURCE / file).read_bytes())
        helper("make", folder, self.root / "rewritten", "huggingface", "head=keep")
        again, info = transformers.BertForPreTraining.from_pretrained(
            self.root / "rewritten", output_loading_info=True
        )
        self.assertFalse(info["missing_keys"] or info["unexpected_keys"], info)
        for name, value in model.state_dict().items():
            self.assertTrue(torch.equal(value, again.state_dict()[name]), name)

    def test_encoder(self):
        model, folder = self.model("BertModel", "encoder")
        for row, ids in self.rows(folder):
            out = model(ids)
            self.assert_dense(row["hidden"], out.last_hidden_state, "hidden states")
            self.assert_dense(row["pooled"], out.pooler_output, "pooler")
        for row, ids in self.rows(folder, "head=embedding"):
            self.assert_dense(row["pooled"], model(ids).last_hidden_state.mean(1), "mean pooling")


if __name__ == "__main__":
    unittest.main()
