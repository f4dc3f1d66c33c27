"""tools/scaling_model.py: its arithmetic by hand, and the tables of docs/scaling.md are its output.

Run from the repository root: .venv/bin/python tests/cli/test_scaling_model.py
"""

import importlib.machinery
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/scaling_model.py"


def load():
    loader = importlib.machinery.SourceFileLoader("scaling_model", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look there
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


model = load()


def output(*words):
    environment = {"COMPRESS_BIN": str(ROOT / "build/release/bin/compress")} | os.environ
    return subprocess.run([sys.executable, TOOL, *words], cwd=ROOT, env=environment,
                          capture_output=True, text=True, check=True).stdout


class Arithmetic(unittest.TestCase):
    def setUp(self):
        self.assumed = {name: value for name, (value, _) in model.ASSUMED.items()}

    def estimate(self, key="bert-base", hardware="h100", **settings):
        return model.Estimate(model.MODELS[key], model.HARDWARE[hardware], self.assumed, **settings)

    def test_sizes(self):
        self.assertEqual(model.MODELS["bert-base"].matrices, 84_934_656)
        self.assertEqual(model.MODELS["decoder-1b"].parameters, 1_235_746_816)

    def test_all_reduce(self):
        estimate = self.estimate()
        self.assertEqual(estimate.all_reduce(1e9, 1), 0)
        # A node: 2 * 7/8 GB at 0.8 * 450 GB/s, and 2 * 7 hops of 3 us.
        self.assertAlmostEqual(estimate.all_reduce(1e9, 8), 1.75 / 360 + 42e-6, places=9)
        # Two nodes: 0.8 * 400 GB/s; trees of 7 hops inside and one outside are shorter than a ring.
        self.assertAlmostEqual(estimate.all_reduce(1e9, 16), 1.875 / 320 + 2 * (21e-6 + 10e-6),
                               places=9)

    def test_buckets_hold_every_gradient_once(self):
        found = self.estimate().buckets()
        self.assertEqual(found[0][0], 2**20)
        self.assertEqual(sum(size for size, _ in found), 4 * 84_934_656)
        self.assertEqual([share for _, share in found], sorted(share for _, share in found))
        self.assertEqual(found[-1][1], 1)
        tied = self.estimate("decoder-1b").buckets()
        self.assertEqual(sum(size for size, _ in tied), 4 * 1_235_746_816)

    def test_what_is_hidden(self):
        alone = self.estimate().step(1, 64, 128)
        self.assertEqual(alone[0], alone[1])
        self.assumed["link_share"] = 1e9  # no time but latency: the last bucket's stays exposed
        step = self.estimate(dense=True).step(8, 64, 128)
        self.assertAlmostEqual(step[2], 2 * 42e-6, places=6)

    def test_measured_points_are_met(self):
        estimate = self.estimate(measured=((8, 0.0041), (32, 0.0119)))
        self.assertAlmostEqual(sum(estimate.compute(8, 128)), 0.0041, places=9)
        self.assertAlmostEqual(sum(estimate.compute(20, 128)), 0.0080, places=9)

    def test_uneven_lengths(self):
        draw = model.random.Random(1)
        self.assertEqual(model.uneven([7], 4, 2, "shuffled", draw), 0)
        self.assertGreater(model.uneven([1, 9], 4, 2, "shuffled", draw), 0.1)


class Document(unittest.TestCase):
    def test_its_tables_are_current(self):
        found = output() + output("--dense-embedding", "--table", "efficiency") + output(
            "--table", "efficiency", "--model", "student", "--bucket", "4e6")
        if (ROOT / "data/hutto/movie.txt").is_file():
            found += output("--text", "data/hutto/movie.txt")
        lines = set(found.splitlines())
        text = (ROOT / "docs/scaling.md").read_text().split("## What would take over")[0]
        rows = re.findall(r"(?m)^\|.*\|$", text)
        self.assertGreater(len(rows), 80)
        self.assertEqual([row for row in rows if row not in lines], [])


if __name__ == "__main__":
    unittest.main()
