"""The recipes of configs/papers: each runs, four updates a stage, on stand-ins for its data and
models; and the plan of the paper's own, with the real models' configurations, has the published
sizes. COMPRESS_PAPER names one system alone."""

import json
import os
import re
import unittest

import yaml

from tests.papers import standins
from tests.support.program import ROOT, Case

PAPERS = ROOT / "configs/papers"
ONLY = os.environ.get("COMPRESS_PAPER", "")
# All stages ended; whether expected numbers held does not matter after four updates.
RAN = (0, 7, 11)
UPDATES = 4
# Sizes of students whose weights are leading dimensions of a stand-in's, which is 24 wide.
NARROW = {"hidden_size": 12, "intermediate_size": 8}
EPOCHS = ("t_max",)  # options that count epochs, of which four updates on a few rows are four
# Parameters of the published models, as transformers counts them: num_parameters() of the class
# that config.json names.
PUBLISHED = {
    "all-MiniLM-L6-v2": 22_713_216,
    "bert-base-uncased": 109_514_298,
    "bert-large-uncased": 335_174_458,
    "roberta-base": 124_697_433,
    "roberta-large": 355_412_057,
    "distilroberta-base": 82_170_201,
    "distilbert-base-uncased": 66_985_530,
    "gpt2": 124_439_808,
    "SmolLM2-135M-Instruct": 134_515_008,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "bart-base": 139_420_416,
    "bart-large": 406_291_456,
}

# Parameters of models that a recipe makes, by system: layers and embeddings with the pooler, and a
# head of two classes.
MADE = {
    "tinybert": [14_350_248 + 2 * 312 + 2, 66_955_008 + 2 * 768 + 2],
}


def recipes(pattern):
    return sorted(file for file in PAPERS.glob(pattern) if ONLY in file.parts or not ONLY)


def trained(recipe):
    return [stage["name"] for stage in recipe["stages"] if "train" in stage]


def duration(value):
    """A number and its unit, or nothing."""
    found = re.fullmatch(r"([\d.]+) (epoch|step)s?", value) if isinstance(value, str) else None
    return found and (float(found[1]), found[2])


def shorter(node, path, length):
    """Settings that scale the durations under `path` as a stage of `length` is to four updates.
    Those in another unit become one update; shares of the stage and tables stay."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in EPOCHS and value > UPDATES:
                yield f"{path}.{key}={UPDATES}"
            yield from shorter(value, f"{path}.{key}", length)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from shorter(value, f"{path}[{place}]", length)
    elif (found := duration(node)) and found[0] > 0:
        scaled = found[0] * UPDATES / length[0] if found[1] == length[1] else 1
        yield f"{path}={max(1, round(scaled))} steps"


def settings(recipe):
    """What makes every training stage four updates long."""
    for stage in recipe["stages"]:
        if "train" in stage:
            path = f"stages.{stage['name']}.train"
            yield from shorter(stage["train"], path, duration(stage["train"]["for"]) or (1, ""))
            yield f"{path}.for={UPDATES} steps"
            model = stage["train"]["model"]
            edit = model.get("initialise", {}) if isinstance(model, dict) else {}
            for key in NARROW if "from" in edit else ():
                yield f"{path}.model.initialise.{key}={NARROW[key]}"


class Papers(Case):
    def prepare(self, file, real=False):
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
        name = "-".join(file.relative_to(PAPERS).with_suffix("").parts)
        folder = self.folder / f"{name}-{real}"
        folder.mkdir()
        standins.make_data(recipe, folder)
        standins.make_models(recipe, folder, real)
        return recipe, folder

    def check_runs(self, file):
        recipe, folder = self.prepare(file)
        short = [word for setting in settings(recipe) for word in ("--set", setting)]
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "COMPRESS_CACHE": str(folder / "cache")}
        done = self.command("run", file, *short, cwd=folder, env=alone)
        self.assertIn(done.returncode, RAN, done.stderr[-4000:])
        stages = folder / "runs" / recipe["name"] / "stages"
        for name in trained(recipe):
            record = json.loads((stages / name / "stage.json").read_text())
            self.assertEqual(record["steps"], UPDATES, name)

    def test_each_recipe_runs(self):
        for file in recipes("*/paper.yaml") + recipes("*/quick/*.yaml"):
            with self.subTest(recipe=str(file.relative_to(PAPERS))):
                self.check_runs(file)

    def test_each_paper_is_planned_at_its_real_size(self):
        for file in recipes("*/paper.yaml"):
            with self.subTest(recipe=str(file.relative_to(PAPERS))):
                recipe, folder = self.prepare(file, real=True)
                plan = self.succeeds("plan", file, cwd=folder)
                found = re.findall(r"^model before  models/(\S+): .* ([\d,]+) parameters$", plan,
                                   re.MULTILINE)
                self.assertTrue(found)
                for name, count in found:
                    self.assertEqual(int(count.replace(",", "")), PUBLISHED[name], name)
                for count in MADE.get(file.parent.name, []):
                    self.assertRegex(plan, rf"model after .* {count:,} parameters")

    # 66,362,880 of 109,482,240 parameters are without heads: those of masked words (a dense layer
    # with its norm, and a bias a token) are the same in both.
    def test_distilberts_student_has_its_size(self):
        if ONLY not in ("", "distilbert"):
            self.skipTest("another system")
        recipe, folder = self.prepare(PAPERS / "distilbert/paper.yaml", real=True)
        plan = self.succeeds("plan", PAPERS / "distilbert/paper.yaml", cwd=folder)
        head = 768 * 768 + 768 + 2 * 768 + 30_522
        self.assertEqual(66_362_880 + head, PUBLISHED["distilbert-base-uncased"])
        found = re.findall(r"^model .*?([\d,]+) parameters", plan, re.MULTILINE)
        self.assertIn(f"{66_362_880 + head:,}", found)

    # A system is told with its paper.
    def test_each_system_has_its_recipes_and_its_page(self):
        for folder in sorted({file.parent for file in recipes("*/paper.yaml")}):
            with self.subTest(system=folder.name):
                self.assertTrue(list(folder.glob("quick/*.yaml")))
                self.assertTrue((ROOT / "docs/papers" / f"{folder.name}.md").is_file())


if __name__ == "__main__":
    unittest.main()
