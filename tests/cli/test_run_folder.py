"""What a run folder holds: a lock, results that are whole, states that go on or are refused.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_run_folder.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import json
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from tests.support.program import BINARY, ROOT


RECIPE = """\
name: test
data:
  reviews:
    train: data/movies/train.tsv
    validation: data/movies/dev.tsv
    text: sentence
    label: label
    limit: 48
stages:
  - name: a
    train:
      model:
        from: models/all-MiniLM-L6-v2
        drop_layers: {strategy: top, keep: 1}
        trim_vocabulary: {data: reviews}
      data: reviews
      for: 40 steps
      batch: 4
      precision: float32
      checkpoint: 2 steps
      evaluate: {every: 20 steps}
      sharpness: {sam: {rho: 0.05}}
      averaging: {swa: {start: 50%}}
  - name: b
    train:
      model: a
      data: reviews
      for: 10 steps
      batch: 4
      accumulate: 2
      precision: float32
      checkpoint: 2 steps
      pruning: {magnitude: {sparsity: 50%, begin: 0%, end: 50%}}
      averaging: {ema: {start: 80%}}
      quantization: {weights: int8, activations: int8, activation_scale: static}
  - name: out
    export: {model: b, formats: [huggingface, compressed-tensors]}
"""


class RunFolder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="compress_run_folder_"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.file = cls.shared / "recipe.yaml"
        cls.file.write_text(RECIPE)
        cls.whole = cls.shared / "whole"
        begun = time.monotonic()
        done = subprocess.run([BINARY, "run", cls.file, "--out", cls.whole], cwd=ROOT, text=True,
                              capture_output=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        cls.seconds = time.monotonic() - begun

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compress_run_folder_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.out = self.folder / "run"

    def start(self, *more):
        return subprocess.Popen([BINARY, "run", self.file, "--out", self.out, *more], cwd=ROOT,
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ends(self, code, process):
        _, errors = process.communicate(timeout=600)
        self.assertEqual(process.returncode, code, errors)
        return errors

    def run_it(self, *more, code=0):
        return self.ends(code, self.start(*more))

    def until(self, what, process):
        deadline = time.monotonic() + 300
        while not what():
            self.assertLess(time.monotonic(), deadline, "nothing happened for five minutes")
            self.assertIsNone(process.poll(), "the run ended too early")
            time.sleep(0.005)

    def stopped(self):
        """A run that was stopped in its first stage."""
        process = self.start()
        self.until((self.out / "stages/a/state.safetensors").exists, process)
        process.send_signal(signal.SIGINT)
        self.ends(6, process)

    def weights(self, out, stage):
        return (out / f"stages/{stage}/model/model.safetensors").read_bytes()

    def assert_as_the_whole_run(self):
        for stage in ("a", "b"):
            self.assertTrue(self.weights(self.out, stage) == self.weights(self.whole, stage), stage)
        for file in ("huggingface/model.safetensors", "compressed-tensors/model.safetensors"):
            self.assertEqual((self.out / "stages/out" / file).read_bytes(),
                             (self.whole / "stages/out" / file).read_bytes(), file)

    def test_a_second_run_is_refused_and_told_who_has_the_folder(self):
        process = self.start()
        self.until((self.out / "recipe.yaml").exists, process)
        errors = self.run_it("--quiet", code=8)
        self.assertIn("error: disk: another run works in this folder: process "
                      f"{process.pid} on ", errors)
        self.assertIn(f"  at: {self.out}", errors)
        self.assertIn("  hint: wait for it", errors)
        self.ends(0, process)
        self.assertIn("skipped", self.run_it())

    def test_a_deleted_model_runs_its_stage_again(self):
        shutil.copytree(self.whole, self.out)
        shutil.rmtree(self.out / "stages/a/model")
        errors = self.run_it()
        self.assertIn("is gone: it runs again", errors)
        self.assertIn("b: unchanged since an earlier run, skipped", errors)
        self.assert_as_the_whole_run()

    def test_closed_streams_write_into_no_file(self):
        shutil.copytree(self.whole, self.out)
        shutil.rmtree(self.out / "stages/a/model")
        (self.out / "metrics.jsonl").unlink()
        done = subprocess.run(["sh", "-c", 'exec "$0" run "$1" --out "$2" <&- >&- 2>&-', BINARY,
                               self.file, self.out], cwd=ROOT, timeout=600, check=False)
        self.assertEqual(done.returncode, 8)  # the table cannot be printed
        lines = (self.out / "metrics.jsonl").read_text().splitlines()
        self.assertTrue(lines)
        for line in lines:
            json.loads(line)
        self.assert_as_the_whole_run()

    def test_another_interval_between_checkpoints_goes_on(self):
        self.stopped()
        errors = self.run_it("--set", "stages.a.train.checkpoint=9 steps")
        self.assertIn("a: goes on at step ", errors)
        self.assert_as_the_whole_run()

    def test_a_saved_state_is_not_replaced_by_a_new_start(self):
        self.stopped()
        state = self.out / "stages/a/state.safetensors"
        before = state.read_bytes()
        for assignment, told in (("batch=6", "train.batch: 4 -> 6"),
                                 ("evaluate.every=10 steps",
                                  "train.evaluate.every: 20 steps -> 10 steps")):
            errors = self.run_it("--set", "stages.a.train." + assignment, code=2)
            self.assertIn(told, errors)
            self.assertIn("--fresh", errors)
        self.assertTrue(state.read_bytes() == before)
        self.assertNotIn("goes on", self.run_it("--fresh"))
        self.assert_as_the_whole_run()

    def test_kills_change_no_bit_and_leave_nothing_behind(self):
        moments = random.Random(7)
        for kill in range(6):
            process = self.start("--quiet")
            try:
                process.wait(timeout=moments.uniform(0.2, 0.8) * self.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
        unfinished = self.out / "stages/a/.state.safetensors.1-0.tmp"
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text("half of a state")
        self.run_it()
        self.assert_as_the_whole_run()
        self.assertEqual([path for path in self.out.rglob(".*")], [])

    def test_each_seed_has_a_folder_and_a_lock_of_its_own(self):
        arguments = ["--set", "stages.a.train.for=2 steps", "--set", "stages.b.train.for=2 steps"]
        runs = [self.start("--seeds", seed, *arguments) for seed in ("1", "2")]
        for process in runs:
            self.ends(0, process)
        for seed in (1, 2):
            self.assertTrue((self.out / f"seed-{seed}/run.lock").exists())


if __name__ == "__main__":
    unittest.main()
