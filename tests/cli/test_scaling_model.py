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

    def test_all_reduce_on_processors(self):
        # 0.8 * 1.25 GB/s, and a ring of 2 * 7 hops of 50 us.
        self.assertAlmostEqual(self.estimate("student", "cpu").all_reduce(1e8, 8),
                               0.175 + 700e-6, places=9)

    def test_buckets_hold_every_gradient_once(self):
        found = self.estimate().buckets()
        rest = 4 * (25 * 2 * 768 + 768**2)
        self.assertEqual(found[-2:], [(2**20, 1), (rest, 1)])
        self.assertEqual(sum(size for size, _ in found), 2 * 84_934_656 + rest)
        self.assertEqual([share for _, share in found], sorted(share for _, share in found))
        tied = self.estimate("decoder-1b").buckets()
        self.assertEqual(tied[-1], (4 * 128256 * 2048, 1))
        self.assertEqual(sum(size for size, _ in tied), model.MODELS["decoder-1b"].overlapped)

    def test_what_is_hidden(self):
        alone = self.estimate().step(1, 64, 128)
        self.assertEqual(alone[0], alone[1])
        self.assumed["link_share"] = 1e9  # no time but latency
        step = self.estimate().step(8, 64, 128)
        # The last two buckets and the map of used weights; the last 25 MB end before them.
        self.assertAlmostEqual(step[2], 3 * 42e-6, places=9)
        # Two messages; 7 passes over 95 MB.
        size = 4 * (30522 + 514) * 768
        self.assertAlmostEqual(step[3], 2 * 42e-6 + 7 * size / 3.35e12, places=9)
        self.assertAlmostEqual(step[4], 14 * 20e-6 / 10, places=9)
        self.assertAlmostEqual(sum(step[1:]), step[0], places=9)

    def test_accumulated_gradients_are_reduced_in_float32_and_not_hidden(self):
        step = self.estimate(accumulate=4).step(8, 256, 128)
        whole, part = self.estimate().compute(256, 128), self.estimate().compute(64, 128)
        self.assertAlmostEqual(step[1], 4 * sum(part[:2]) + whole[2], places=9)
        size = 4 * (84_934_656 + 25 * 2 * 768 + 768**2)
        messages = -(-size // (25 * 2**20))
        self.assertAlmostEqual(
            step[2], 1.75 * size / 360e9 + messages * 42e-6 + 6 * size / 3.35e12, places=9)

    def test_processors_send_rows_until_distinct_ones_are_twice_the_tables(self):
        estimate = self.estimate("student", "cpu")
        tokens = 32 * 27
        touched = 3.33 * tokens**0.718 + 27 + 1  # words, positions, a segment: 455.4
        self.assertAlmostEqual(estimate.touched(tokens, 27), touched, places=9)
        self.assertLess(136 * touched, 2 * (30522 + 514))
        self.assertGreater(137 * touched, 2 * (30522 + 514))
        self.assertFalse(estimate.sends_tables(136, tokens, 27))
        self.assertTrue(estimate.sends_tables(137, tokens, 27))
        counting = estimate.latency(136)
        self.assertEqual(estimate.embedding(136, 32, 27),
                         counting + estimate.touched_rows(136, tokens, 27))
        counting = estimate.latency(137)
        self.assertEqual(estimate.embedding(137, 32, 27), counting + estimate.whole_tables(137))
        # As many rows as twice the tables' are still gathered: 28 a rank, none of words.
        self.assumed["heaps_k"] = 0
        estimate.model = model.dataclasses.replace(estimate.model, vocabulary=28 * 50 - 514)
        self.assertFalse(estimate.sends_tables(100, tokens, 27))
        self.assertTrue(estimate.sends_tables(101, tokens, 27))
        # The count; rows and numbers, each with the ranks' counts and half the steps of a ring.
        self.assumed["link_share"] = self.assumed["heaps_k"] = 1e-9
        estimate.hardware = model.dataclasses.replace(estimate.hardware, memory_rate=1e30,
                                                      inside=1e30, outside=1e30)
        self.assertAlmostEqual(estimate.embedding(11, 32, 27), 4 * estimate.latency(11), places=9)
        self.assertTrue(self.estimate().sends_tables(2, 1, 1))

    def test_agreeing(self):
        self.assertAlmostEqual(self.estimate("student", "cpu").agreeing(8), 14 * 50e-6, places=9)
        # Two nodes of 8: two of 16 hops between nodes; 2 * 15 steps, every tenth update.
        self.assertAlmostEqual(self.estimate().agreeing(16),
                               30 * (2 * 50e-6 + 14 * 20e-6) / 16 / 10, places=9)

    def test_measured_points_are_met(self):
        estimate = self.estimate(measured=((8, 0.0041), (32, 0.0119)))
        self.assertAlmostEqual(sum(estimate.compute(8, 128)), 0.0041, places=9)
        self.assertAlmostEqual(sum(estimate.compute(20, 128)), 0.0080, places=9)

    def test_uneven_lengths(self):
        draw = model.random.Random(1)
        self.assertEqual(model.uneven([7], 4, 2, "shuffled", draw), 0)
        self.assertGreater(model.uneven([1, 9], 4, 2, "shuffled", draw), 0.1)


class Document(unittest.TestCase):
    def test_every_table_is_what_the_command_above_it_prints(self):
        text = (ROOT / "docs/scaling.md").read_text().split("## What would take over")[0]
        printed = {}
        command, tables, rows = None, 0, 0
        for words, table in re.findall(
                r"`tools/scaling_model\.py([^`]*)`|((?:^\|.*\|\n)+)", text, re.MULTILINE):
            if not table:
                command = tuple(words.split())
                continue
            tables += 1
            rows += table.count("\n")
            if "--text" in command and not (ROOT / command[-1]).is_file():
                continue
            if command not in printed:
                printed[command] = set(output(*command).splitlines())
            self.assertEqual([row for row in table.splitlines() if row not in printed[command]],
                             [], command)
        self.assertEqual(tables, 13)
        self.assertGreater(rows, 80)


if __name__ == "__main__":
    unittest.main()
