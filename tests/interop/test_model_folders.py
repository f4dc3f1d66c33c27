"""What a model folder says besides its family: poolings, problem types, further tensors, padding.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_model_folders.py
"""

import json
import os
import pathlib
import subprocess
import unittest

import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.interop import family_cases as families
from tests.interop import test_families as common

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("COMPRESS_BIN", str(ROOT / "build/release/bin/compress"))
IDENTITY = "torch.nn.modules.linear.Identity"


def weighted_mean(states):
    weights = torch.arange(1.0, len(states) + 1)
    return (states * weights[:, None]).sum(0) / weights.sum()


# What sentence-transformers 6 computes of the states [n, H] of a row, with the keys of its older
# files, in the order in which it joins several of them.
POOLINGS = {
    "cls": ("pooling_mode_cls_token", lambda x: x[0]),
    "max": ("pooling_mode_max_tokens", lambda x: x.max(0).values),
    "mean": ("pooling_mode_mean_tokens", lambda x: x.sum(0) / len(x)),
    "mean_sqrt_len_tokens": ("pooling_mode_mean_sqrt_len_tokens", lambda x: x.sum(0) / len(x)**0.5),
    "weightedmean": ("pooling_mode_weightedmean_tokens", weighted_mean),
    "lasttoken": ("pooling_mode_lasttoken", lambda x: x[-1]),
}


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


class Case(common.Folders):
    def made(self, family, head, note, **options):
        variant = next(iter(families.VARIANTS[family]))
        all_options = {**families.VARIANTS[family][variant][0], **options}
        return self.make(families.Case(family, head, variant, all_options, note))


class Poolings(Case):
    """The embedding head against plain torch on transformers' states, forward and backward."""

    def write_modules(self, model, modes, newer, dense, normalize):
        names = ["Transformer", "Pooling"] + ["Dense"] * (dense is not None)
        names += ["Normalize"] * normalize
        entries = [
            {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"x.{name}"}
            for i, name in enumerate(names)
        ]
        (model / "modules.json").write_text(json.dumps(entries))
        said = {"embedding_dimension": 24, "pooling_mode": modes if len(modes) > 1 else modes[0]}
        if not newer:
            said = {key: mode in modes for mode, (key, _) in POOLINGS.items()}
            said["word_embedding_dimension"] = 24
        (model / "1_Pooling").mkdir()
        (model / "1_Pooling/config.json").write_text(json.dumps(said))
        if dense is None:  # what this program writes, where no Dense module says it
            edit(model / "config.json", compress={"head": "embedding"})
            return said
        sizes = {"in_features": dense.in_features, "out_features": dense.out_features, "bias": True}
        (model / "2_Dense").mkdir()
        (model / "2_Dense/config.json").write_text(
            json.dumps({**sizes, "activation_function": IDENTITY})
        )
        weights = {f"linear.{name}": value.data for name, value in dense.named_parameters()}
        save_file(weights, model / "2_Dense/model.safetensors")
        return said

    def embeddings(self, reference, modes, dense, normalize):
        states = reference.model(**reference._inputs()).last_hidden_state
        vectors = []
        for row, length in enumerate(reference.rows.lengths):
            one = torch.cat([POOLINGS[mode][1](states[row, :length]) for mode in modes])
            one = one if dense is None else dense(one)
            vectors.append(torch.nn.functional.normalize(one, dim=0) if normalize else one)
        return torch.stack(vectors)

    def cases(self):
        for mode in POOLINGS:
            yield "bert", [mode], False, False, False
        for mode in ("lasttoken", "weightedmean"):
            yield "qwen3", [mode], True, False, False
        yield "roberta", ["cls", "max", "mean"], False, True, True
        yield "gpt2", ["lasttoken", "mean"], True, True, False
        yield "distilbert", ["mean_sqrt_len_tokens"], False, False, True

    def test_against_torch(self):
        made = []
        for number, (family, modes, newer, projected, normalize) in enumerate(self.cases()):
            torch.manual_seed(number)
            dense = torch.nn.Linear(24 * len(modes), 7) if projected else None
            folder, reference = self.made(family, "none", f"pooling{number}")
            said = self.write_modules(folder / "model", modes, newer, dense, normalize)
            due = self.embeddings(reference, modes, dense, normalize)
            given = {n: v for n, v in reference.given().items() if not n.startswith("weight.")}
            given["weight.pooled"] = torch.randn(due.shape)
            save_file(given, folder / "batch.safetensors")
            made.append((folder, reference, said, dense, due, given["weight.pooled"], modes))
        problems = common.probe([folder for folder, *_ in made])
        for folder, reference, said, dense, due, weight, modes in made:
            with self.subTest(folder.name, modes=modes):
                self.assertIsNone(problems[str(folder)])
                ours = load_file(folder / "ours.safetensors")
                self.assert_close(ours["pooled"], due, "embedding")
                reference.model.zero_grad()
                (due * weight).sum().backward()
                named = dict(reference.model.named_parameters())
                if dense is not None:
                    named |= {f"projection.{n}": value for n, value in dense.named_parameters()}
                gradients = {n.removeprefix("gradient."): v for n, v in ours.items()
                             if n.startswith("gradient.")}
                self.assertIn(next(iter(named)), gradients)
                for name, gradient in gradients.items():
                    scale = self.scale(reference.case, name,
                                       {n: v.grad for n, v in named.items() if v.grad is not None})
                    self.assert_close(gradient, named[name].grad, name, scale)
                again = json.loads((folder / "again/1_Pooling/config.json").read_text())
                self.assertEqual({key: again.get(key) for key in said}, said)


class Padding(Case):
    def test_token_that_a_decoder_classifies_with(self):
        """transformers reads the last token that is not the padding's, in a row without any too."""
        made = []
        for family in ("gpt2", "llama", "qwen3", "opt"):
            folder, reference = self.made(family, "classification", "padding", pad_token_id=9)
            rows = reference.rows
            for row, count in ((0, 1), (2, 3)):  # tokens of the text that mean padding
                length = rows.lengths[row]
                rows.ids[row, length - count : length] = 9
            rows.ids[1, : rows.lengths[1]] = 9
            rows.ids[3, 0] = 9
            due = reference.model(**reference._inputs()).logits
            save_file(
                {n: v for n, v in reference.given().items() if not n.startswith("weight.")},
                folder / "batch.safetensors",
            )
            made.append((folder, due))
        problems = common.probe([folder for folder, _ in made])
        for folder, due in made:
            with self.subTest(folder.name):
                self.assertIsNone(problems[str(folder)])
                self.assert_close(load_file(folder / "ours.safetensors")["logits"], due, "logits")


class Problems(Case):
    def test_multi_label_models_are_kept(self):
        """transformers reads what was written with the same keys, and computes the same."""
        for family in families.HEADS:
            with self.subTest(family):
                folder, reference = self.made(family, "classification", "multi")
                edit(folder / "model/config.json", problem_type="multi_label_classification")
                problems = common.probe([folder])
                self.assertIsNone(problems[str(folder)])
                ours = load_file(folder / "ours.safetensors")
                self.assert_close(ours["logits"], reference.outputs["logits"], "logits")
                again = reference.case.auto.from_pretrained(
                    folder / "again", attn_implementation="eager"
                )
                self.assertEqual(again.config.problem_type, "multi_label_classification")
                self.assertEqual(again.config.id2label, reference.config.id2label)

    def test_transformers_refuses_what_we_refuse(self):
        folder, reference = self.made("bert", "regression", "one")
        edit(folder / "model/config.json", problem_type="single_label_classification")
        self.assertIn("single_label", common.probe([folder])[str(folder)])
        with self.assertRaises(ValueError):
            transformers.AutoConfig.from_pretrained(folder / "model")


class Tensors(Case):
    def test_further_tensors_are_left_out(self):
        """Those that transformers calls unexpected are named, and nothing else changes."""
        made = []
        for family, head in (("bert", "classification"), ("roberta", "masked_lm"),
                             ("llama", "causal_lm"), ("t5", "seq2seq_lm")):
            folder, reference = self.made(family, head, "more")
            tensors = load_file(folder / "model/model.safetensors")
            for i in range(3):
                tensors[f"fit_denses.{i}.weight"] = torch.rand(4, 24)
            tensors["counts"] = torch.arange(3)
            save_file(tensors, folder / "model/model.safetensors", {"format": "pt"})
            made.append((folder, reference))
        problems = common.probe([folder for folder, _ in made])
        for folder, reference in made:
            with self.subTest(folder.name):
                self.assertIsNone(problems[str(folder)])
                self.compare(reference, folder)
                _, info = reference.case.auto.from_pretrained(
                    folder / "model", output_loading_info=True
                )
                done = subprocess.run([BINARY, "inspect", folder / "model"], capture_output=True,
                                      text=True, check=True)
                (line,) = [x for x in done.stderr.splitlines() if "left out" in x]
                for name in info["unexpected_keys"]:
                    self.assertIn(f"'{name}'", line)
                again = load_file(folder / "again/model.safetensors")
                self.assertFalse(set(again) & set(info["unexpected_keys"]))


if __name__ == "__main__":
    unittest.main()
