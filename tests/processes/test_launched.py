"""Several processes as torchrun starts them: the program on the real model and real sentences.

Run from the repository root: .venv/bin/python -m unittest tests/processes/test_launched.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import numpy
from safetensors.numpy import load_file

from tests.support.program import BINARY, ROOT


# Everything at once: distillation, pruning, int8, SAM, SWA, in float32.
RECIPE = """\
name: shared
data:
  reviews:
    train: data/movies/train.tsv
    validation: data/movies/dev.tsv
    text: sentence
    label: label
    limit: 140
    max_length: 24
stages:
  - name: teacher
    train:
      model:
        from: models/all-MiniLM-L6-v2
        drop_layers: {strategy: top, keep: 2}
        trim_vocabulary: {data: reviews}
      data: reviews
      for: 2 steps
      precision: float32
      optimizer: {sgd: {lr: 0.05}}
  - name: student
    train:
      model: {from: teacher, drop_layers: {strategy: top, keep: 1}}
      teacher: teacher
      data: reviews
      for: STEPS
      batch: 32
      precision: float32
      objectives: [soft_labels: {temperature: 2, weight: 0.5}, labels: {weight: 0.5}]
      optimizer: {sgd: {lr: 0.05, momentum: 0.9}}
      sharpness: {sam: {rho: 0.05}}
      averaging: {swa: {start: 70%}}
      pruning: {magnitude: {sparsity: 80%, begin: 0%, end: 40%, every: 1 step}}
      quantization: {start: 50%}
      checkpoint: {every: 5 steps}
      evaluate: {every: 5 steps}
"""


TEXTS = """\
  texts:
    train: data/movies/dev.tsv
    text: sentence
    task: language_model
    max_length: 16
    limit: 7
"""


# Two layers of a model that writes.
WRITER = f"""\
name: writer
data:
{TEXTS}
stages:
  - name: writer
    train:
      model: {{from: models/SmolLM2-135M-Instruct, drop_layers: {{strategy: top, keep: 2}}}}
      data: texts
      for: 1 step
      precision: float32
      optimizer: {{sgd: {{lr: 1e-12}}}}
"""


# Stages that ask a model about rows.
ASKING = f"""\
name: asking
data:
  reviews:
    train: data/movies/train.tsv
    validation: data/movies/dev.tsv
    text: sentence
    label: label
    limit: 21
    max_length: 24
{TEXTS}
stages:
  - name: teacher
    train:
      model:
        from: models/all-MiniLM-L6-v2
        drop_layers: {{strategy: top, keep: 2}}
        trim_vocabulary: {{data: reviews}}
      data: reviews
      for: 2 steps
      precision: float32
  - name: layers
    measure: {{model: teacher, data: reviews, token: all}}
  - name: losses
    measure: {{model: WRITER, data: texts, part: train, what: token_losses}}
  - name: label
    annotate: {{model: teacher, data: reviews, batch: 4}}
  - name: write
    generate:
      model: WRITER
      prompt: The film
      count: 5
      sample: true
      max_new_tokens: 4
      batch: 2
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(world, *arguments):
    """Starts `world` processes with the variables that torchrun sets."""
    port = free_port()
    shared = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": port, "OMP_NUM_THREADS": 1, "OMP_WAIT_POLICY": "passive"}
    started = []
    for rank in range(world):
        variables = os.environ | {k: str(v) for k, v in shared.items()}
        variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(subprocess.Popen([BINARY, *map(str, arguments)], cwd=ROOT, env=variables,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return started


def outcome(processes, timeout=300):
    """(exit code, stdout, stderr) of each process."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=timeout)
        found.append((process.returncode, out, err))
    return found


class Launched(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="compress_processes_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

    def recipe(self, steps):
        file = self.folder / f"{steps}.yaml"
        file.write_text(RECIPE.replace("STEPS", f"{steps} steps"))
        return file

    def run_alone(self, steps, out):
        done = subprocess.run([BINARY, "run", self.recipe(steps), "--out", out], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return load_file(out / "stages/student/model/model.safetensors")

    def run_together(self, world, steps, out):
        found = outcome(launch(world, "run", self.recipe(steps), "--out", out))
        for code, _, err in found:
            self.assertEqual(code, 0, err)
        self.assertRegex(found[0][1], "(?m)^student  accuracy")
        for _, text, err in found[1:]:
            self.assertEqual(text, "", "only rank 0 prints results")
            self.assertEqual(err, "")
        return load_file(out / "stages/student/model/model.safetensors")

    def test_equal_to_one_process(self):
        alone = self.run_alone(10, self.folder / "alone")
        one = json.loads((self.folder / "alone/stages/student/stage.json").read_text())
        for world in (2, 3):
            out = self.folder / f"together-{world}"
            together = self.run_together(world, 10, out)
            # Rounding to int8 turns rounding errors of float32 into whole steps here and there.
            moved = max(float(numpy.abs(alone[n] - together[n]).max()) for n in alone)
            self.assertLess(moved, 1e-4)
            matrices = [n for n in alone if "encoder" in n and alone[n].ndim == 2]
            zeros = sum(int(((alone[n] == 0) != (together[n] == 0)).sum()) for n in matrices)
            self.assertEqual(zeros, 0, "masks differ from those of one process")
            many = json.loads((out / "stages/student/stage.json").read_text())
            for ours, theirs in zip(one["validation"], many["validation"], strict=True):
                self.assertAlmostEqual(ours["value"], theirs["value"], delta=0.02)
            # The losses of the log are those of whole batches.
            logs = [self.losses(folder) for folder in (self.folder / "alone", out)]
            numpy.testing.assert_allclose(logs[0], logs[1], rtol=1e-3)

    def test_stages_that_ask_share_their_rows(self):
        made = self.folder / "writer.yaml"
        made.write_text(WRITER)
        ((code, _, err),) = outcome(launch(1, "run", made, "--out", self.folder / "writer"))
        self.assertEqual(code, 0, err)
        file = self.folder / "asking.yaml"
        writer = self.folder / "writer/stages/writer/model"
        file.write_text(ASKING.replace("WRITER", str(writer)))
        numbers, losses, rows = [], [], []
        for world in (1, 2, 3):
            out = self.folder / f"asking-{world}"
            for code, _, err in outcome(launch(world, "run", file, "--out", out)):
                self.assertEqual(code, 0, err)
            stages = out / "stages"
            numbers.append(json.loads((stages / "layers/numbers.json").read_text())["layers"] +
                           [json.loads((stages / "losses/numbers.json").read_text())["loss"]])
            losses.append(load_file(stages / "losses/store/token_losses.safetensors"))
            rows.append([[json.loads(line) for line in
                          (stages / name / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
                         for name in ("label", "write")])
        for world in (1, 2):
            numpy.testing.assert_allclose(numbers[world], numbers[0], rtol=1e-4)
            numpy.testing.assert_array_equal(losses[world]["offsets"], losses[0]["offsets"])
            numpy.testing.assert_allclose(losses[world]["losses"], losses[0]["losses"], atol=1e-3)
            self.assertEqual(rows[world][1], rows[0][1])
            self.assertEqual([row["text"] for row in rows[world][0]],
                             [row["text"] for row in rows[0][0]])
            numpy.testing.assert_allclose([row["negative"] for row in rows[world][0]],
                                          [row["negative"] for row in rows[0][0]], atol=1e-4)

    @staticmethod
    def losses(out):
        lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if line["stage"] == "student" and "loss" in line]

    def wait_for_state(self, processes, out):
        state = out / "stages/student/state.safetensors"
        deadline = time.monotonic() + 240
        while not state.exists():
            for process in processes:
                self.assertIsNone(process.poll(), "a process ended early")
            self.assertLess(time.monotonic(), deadline, "no state within four minutes")
            time.sleep(0.02)

    def test_a_killed_process_ends_the_others_and_the_run_goes_on(self):
        expected = self.run_together(2, 24, self.folder / "undisturbed")
        for victim in (1, 0):
            out = self.folder / f"killed-{victim}"
            processes = launch(2, "run", self.recipe(24), "--out", out)
            self.wait_for_state(processes, out)
            processes[victim].send_signal(signal.SIGKILL)
            begin = time.monotonic()
            code, _, err = outcome([processes[1 - victim]], timeout=60)[0]
            self.assertLess(time.monotonic() - begin, 60)
            self.assertEqual(code, 10, err)
            self.assertIn(f"[process {1 - victim}] error: lost process: process {1 - victim} of 2 "
                          "lost the others", err)
            self.assertIn("hint: look for the first process that failed", err)
            outcome([processes[victim]])
            self.assertTrue((out / "stages/student/state.safetensors").exists())
            resumed = self.run_together(2, 24, out)
            for name, value in expected.items():
                numpy.testing.assert_array_equal(value, resumed[name], name)

    def test_a_signal_stops_all_and_the_run_goes_on(self):
        expected = self.run_together(2, 24, self.folder / "unstopped")
        out = self.folder / "stopped"
        processes = launch(2, "run", self.recipe(24), "--out", out)
        self.wait_for_state(processes, out)
        for _ in range(2):  # launchers repeat their signals
            processes[1].send_signal(signal.SIGTERM)
        for code, _, err in outcome(processes, timeout=60):
            self.assertEqual(code, 6, err)
            self.assertIn("stopped at step", err)
        resumed = self.run_together(2, 24, out)
        for name, value in expected.items():
            numpy.testing.assert_array_equal(value, resumed[name], name)

    def test_mistakes(self):
        broken = self.folder / "broken.yaml"
        broken.write_text(RECIPE.replace("STEPS", "0 steps"))
        for code, out, err in outcome(launch(2, "run", broken, "--out", self.folder / "broken")):
            self.assertEqual(code, 2, err)
            self.assertEqual(out, "")
        variables = os.environ | {"RANK": "0", "WORLD_SIZE": "2"}
        done = subprocess.run([BINARY, "run", broken], cwd=ROOT, env=variables, text=True,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 9)
        self.assertIn("MASTER_ADDR", done.stderr)
        # Commands that work alone ignore the launcher.
        done = subprocess.run([BINARY, "plan", self.recipe(10)], cwd=ROOT, env=variables, text=True,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_evaluate_and_bench(self):
        model = self.folder / "scored/stages/student/model"
        self.run_alone(10, self.folder / "scored")
        words = ["evaluate", model, "--data", "data/movies/dev.tsv", "--text", "sentence",
                 "--limit", "100", "--json"]
        alone = subprocess.run([BINARY, *map(str, words)], cwd=ROOT, capture_output=True, text=True,
                               check=True)
        together = outcome(launch(3, *words))
        self.assertEqual([code for code, _, _ in together], [0, 0, 0], together)
        ours, theirs = json.loads(alone.stdout), json.loads(together[0][1])
        self.assertEqual(ours["metrics"], theirs["metrics"])
        timed = outcome(launch(2, "bench", self.recipe(10), "--stage", "teacher", "--steps", "2",
                               "--json"))
        self.assertEqual([code for code, _, _ in timed], [0, 0], timed)
        self.assertEqual(json.loads(timed[0][1])["steps"], 2)


if __name__ == "__main__":
    unittest.main()
