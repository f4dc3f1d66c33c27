"""Each family of models against transformers: outputs, gradients, and folders in both directions.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_families.py
The helper that runs our models is tests/interop/family_probe.cpp; its path may be given in
COMPRESS_FAMILY_PROBE.
"""

import json
import logging
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
import transformers.utils.logging
from safetensors.torch import load_file, save_file

from tests.interop import family_cases as families
from tests.interop.family_reference import Reference

transformers.utils.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = os.environ.get("COMPRESS_FAMILY_PROBE", str(ROOT / "build/release/bin/family_probe"))

# float32 against float32, of a tensor's largest magnitude: only the order of sums differs.
CLOSE = 1e-5
# A bias of keys adds the same to all scores of a query, which softmax does not see: its gradient is
# zero but for rounding, where keys are not turned by their positions. Its scale is that of the
# weight beside it.
KEY_BIAS = re.compile(r"(\.key|\.k_lin|\.k_proj)\.bias$")
TURNED = ("llama", "mistral", "qwen2", "qwen3")
# What transformers warns of whatever is in the file: it ties T5's tables, and finds them different.
EXPECTED_WARNINGS = {"t5-seq2seq_lm-gated": "so we will NOT tie them"}
# Keys of config.json that say who wrote it, not what the model is.
WRITERS = ("architectures", "transformers_version", "_name_or_path", "dtype", "compress")


def probe(folders):
    """What went wrong with each folder, None where nothing did."""
    done = subprocess.run([PROBE, *map(str, folders)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise AssertionError(f"family_probe failed: {done.stderr}")
    return json.loads(done.stdout)


class Warnings(logging.Handler):
    """What transformers logs from warnings up."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())

    def __enter__(self):
        logging.getLogger("transformers").addHandler(self)
        return self

    def __exit__(self, *_):
        logging.getLogger("transformers").removeHandler(self)


class Folders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        keep = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(keep.name)
        cls.addClassCleanup(keep.cleanup)

    def make(self, case, seed=5, **how):
        """The folder of a case, as transformers saves it, with a batch for the probe."""
        folder = self.root / case.name
        model = families.make(case, seed)
        reference = Reference(case, model, seed + 1)
        model.save_pretrained(folder / "model", **how)
        save_file(reference.given(), folder / "batch.safetensors")
        return folder, reference

    def assert_close(self, ours, theirs, what, scale=None):
        """Returns the difference in parts of the largest magnitude."""
        self.assertEqual(ours.shape, theirs.shape, what)
        scale = theirs.abs().max().item() if scale is None else scale
        difference = (ours - theirs).abs().max().item() / max(scale, 1e-30)
        self.assertLessEqual(difference, CLOSE, what)
        return difference

    def compare(self, reference, folder):
        """Outputs and gradients; the largest difference of each."""
        ours = load_file(folder / "ours.safetensors")
        case = reference.case
        outputs = {name for name in ours if not re.search("gradient|^plain", name)}
        # Heads that read a pooler's output show it; transformers' classes with a head do not.
        self.assertEqual(outputs | {"pooled"}, set(reference.outputs) | {"pooled"})
        worst = [0.0, 0.0]
        for name, theirs in reference.outputs.items():
            mask = reference.masks.get(name.split(".")[0])
            mine = ours[name] if mask is None else ours[name] * mask[:, None]
            worst[0] = max(worst[0], self.assert_close(mine, theirs, name))
        plain = [name for name in reference.outputs if f"plain.{name}" in ours]
        self.assertEqual(
            set(plain) - {"pooled"}, set(reference.outputs) & {"logits", "token_logits"}
        )
        for name in plain:
            worst[0] = max(
                worst[0],
                self.assert_close(ours[f"plain.{name}"], reference.outputs[name], f"plain.{name}"),
            )
        for prefix, named in (("gradient.", reference.outputs), ("plain_gradient.", plain)):
            if not named:
                continue
            mine = {
                name.removeprefix(prefix): ours[name] for name in ours if name.startswith(prefix)
            }
            worst[1] = max(worst[1], self.compare_gradients(reference, mine, named))
        return worst

    def compare_gradients(self, reference, mine, named):
        case, worst = reference.case, 0.0
        gradients = reference.gradients(named)
        self.assertLessEqual(set(mine), set(gradients))
        for name, gradient in mine.items():
            scale = self.scale(case, name, gradients)
            worst = max(worst, self.assert_close(gradient, gradients[name], name, scale))
        named = dict(reference.model.named_parameters(remove_duplicate=False))
        covered = {id(named[name]) for name in mine}
        for name, parameter in named.items():
            if id(parameter) not in covered:
                self.assert_untrained(reference, name, gradients[name])
        return worst

    def scale(self, case, name, gradients):
        near = [name]
        if KEY_BIAS.search(name) and case.family not in TURNED:
            near.append(name.removesuffix("bias") + "weight")
        return max(gradients[other].abs().max().item() for other in near)

    def assert_untrained(self, reference, name, gradient):
        """No gradient is right where none arrives, and for a table of sinusoids."""
        fixed = getattr(reference.config, "sinusoidal_pos_embds", False)
        if not (fixed and name.endswith("position_embeddings.weight")):
            self.assertEqual(gradient.abs().max().item(), 0, name)

    def compare_again(self, reference, folder):
        """What we saved is the same file, and the family's class reads it without a word."""
        case, model = reference.case, reference.model
        again = folder / "again"
        theirs = load_file(folder / "model/model.safetensors")
        ours = load_file(again / "model.safetensors")
        self.assertEqual(set(ours), set(theirs))
        for name, tensor in theirs.items():
            self.assertTrue(torch.equal(ours[name], tensor), name)
        config = json.loads((again / "config.json").read_text())
        self.assertEqual(config["architectures"], [type(model).__name__])
        with Warnings() as warnings:
            loaded, info = case.auto.from_pretrained(
                again, output_loading_info=True, attn_implementation="eager"
            )
        for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertFalse(info[key], key)
        expected = EXPECTED_WARNINGS.get(case.name)
        unexpected = [text for text in warnings.messages if not expected or expected not in text]
        self.assertEqual(unexpected, [])
        self.assertIs(type(loaded), type(model))
        self.assertEqual(self.options(loaded.config), self.options(model.config))
        out = Reference(case, loaded.eval(), reference.seed).outputs
        for name, tensor in reference.outputs.items():
            self.assertTrue(torch.equal(out[name], tensor), name)

    def options(self, config):
        return {key: value for key, value in config.to_dict().items() if key not in WRITERS}

    def run_cases(self, cases):
        made = [self.make(case) for case in cases]
        problems = probe([folder for folder, _ in made])
        for folder, reference in made:
            with self.subTest(reference.case.name):
                self.assertIsNone(problems[str(folder)])
                outputs, gradients = self.compare(reference, folder)
                print(f"{reference.case.name}: outputs {outputs:.1e}, gradients {gradients:.1e}")
            with self.subTest(reference.case.name, saved="again"):
                self.assertIsNone(problems[str(folder)])
                self.compare_again(reference, folder)


def test_of(family):
    return lambda self: self.run_cases(families.cases([family]))


class Families(Folders):
    """Small random models as transformers makes and saves them, and as we save them."""

    def test_every_head_is_tried(self):
        for family, heads in families.HEADS.items():
            others = families.NOT_OURS.get(family, set())
            self.assertEqual(set(heads) | others, families.heads_of(family), family)


for _family in families.HEADS:
    setattr(Families, "test_" + _family.replace("-", "_"), test_of(_family))


if __name__ == "__main__":
    unittest.main()
