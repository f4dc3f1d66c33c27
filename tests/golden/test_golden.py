"""The loss curve of every recipe in configs/, on a few rows, is the one that was recorded.

    .venv/bin/python tests/golden/test_golden.py [--record]

Recipes whose models are not fetched (or too large for this) run with a small random model of the
same family and depth, on movie sentences. Each recipe runs in float32 on the first rows of its
data, for a few steps a stage. A change of the mathematics anywhere on the way moves a curve;
another processor or thread count moves it by the rounding of float32 sums, which grows along a
stage, hence the tolerance. --record writes the curves anew: look at the difference before you
commit it. COMPRESS_BIN names the executable.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
CURVES = pathlib.Path(__file__).with_name("curves.json")
STEPS = 20
TOLERANCE = 0.05  # of the loss
FLOOR = 1e-5
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


# Family, configuration and data of the model that stands in for a recipe's own.
SMALL = dict(vocab_size=30522, hidden_size=16, num_attention_heads=2, intermediate_size=32,
             max_position_embeddings=514, pad_token_id=0, bos_token_id=101, eos_token_id=102)
STAND_INS = {
    "distilroberta": ("RobertaForMaskedLM", SMALL | dict(num_hidden_layers=12, type_vocab_size=1)),
    "distilgpt2": ("GPT2LMHeadModel", dict(vocab_size=30522, n_embd=16, n_head=2, n_layer=12,
                                           pad_token_id=0, bos_token_id=101, eos_token_id=102)),
    "smollm2-half": ("LlamaForCausalLM", SMALL | dict(
        num_hidden_layers=30, num_key_value_heads=1, tie_word_embeddings=True)),
}


def stand_in(name, folder):
    """What makes a recipe run with a small random model."""
    import torch
    import transformers

    kind, settings = STAND_INS[name]
    torch.manual_seed(13)
    model = getattr(transformers, kind)
    model = model(model.config_class(**settings))
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(ROOT / "models/all-MiniLM-L6-v2" / file, folder)
    data = "descriptions" if name == "smollm2-half" else "text"
    words = [f"stages.student.train.model.from={folder}",
             f"stages.student.train.teacher.from={folder}", f"data.{data}.max_length=64"]
    for part, file in (("train", "train"), ("validation", "dev")):
        words.append(f"data.{data}.{part}={ROOT}/data/movies/{file}.tsv")
    return words + ([f"data.{data}.text=sentence"] if data == "descriptions" else [])


def recipes():
    return sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))


def short_run(name, folder, binary=BINARY):
    """Runs a recipe for a few steps a stage and leaves the run in a folder."""
    recipe = ROOT / "configs" / f"{name}.yaml"
    text = recipe.read_text(encoding="utf-8")
    stages = re.findall(r"- name: (\S+)\n\s+train:", text)
    datasets = re.findall(r"^  (\w+): ?(?:\{|$)", text[text.index("data:"):text.index("stages:")],
                          re.MULTILINE)
    words = [f"data.{data}.limit=160" for data in datasets]
    for stage in stages:
        words += [f"stages.{stage}.train.for={STEPS} steps",
                  f"stages.{stage}.train.precision=float32", f"stages.{stage}.train.batch=16"]
        if "floor" in text and re.search(rf"name: {stage}\n(?:(?!- name).)*floor", text, re.DOTALL):
            words.append(f"stages.{stage}.train.teacher.floor=0")
    with tempfile.TemporaryDirectory() as model:
        if name in STAND_INS:
            words += stand_in(name, model)
        command = [binary, "run", str(recipe), "--out", folder, "--quiet"]
        for word in words:
            command += ["--set", word]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    # 7: a run of 20 steps does not reach the numbers that the recipe expects.
    if done.returncode not in (0, 7):
        raise AssertionError(f"{name}: exit {done.returncode}\n{done.stderr}")


def curve(name):
    """[[stage, step, loss], ...] of a short run."""
    with tempfile.TemporaryDirectory() as folder:
        short_run(name, folder)
        lines = (pathlib.Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    points = [json.loads(line) for line in lines]
    return [[p["stage"], p["step"], p["loss"]] for p in points if "loss" in p]


class Golden(unittest.TestCase):
    maxDiff = None

    def check(self, name):
        recorded = json.loads(CURVES.read_text(encoding="utf-8"))
        self.assertIn(name, recorded, "record the new recipe: tests/golden/test_golden.py --record")
        now = curve(name)
        self.assertEqual([p[:2] for p in now], [p[:2] for p in recorded[name]])
        for (stage, step, loss), (_, _, before) in zip(now, recorded[name]):
            bound = TOLERANCE * before + FLOOR
            self.assertAlmostEqual(loss, before, delta=bound, msg=f"{name} {stage} {step}")


for recipe_name in recipes():
    setattr(Golden, f"test_{recipe_name.replace('-', '_')}",
            lambda self, name=recipe_name: self.check(name))

if __name__ == "__main__":
    if "--record" in sys.argv:
        curves = {name: curve(name) for name in recipes()}
        lines = [f"{json.dumps(name)}: {json.dumps(points)}" for name, points in curves.items()]
        CURVES.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    else:
        unittest.main()
