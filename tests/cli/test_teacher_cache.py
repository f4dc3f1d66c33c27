"""A teacher's answers on disk: what runs and jobs share, what is refused, and int8 teachers.

Run from the repository root: .venv/bin/python -m unittest tests/cli/test_teacher_cache.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import array
import json
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

from tests.support.program import BINARY, ROOT, command

ROWS = 64

DATA = f"""\
name: test
data:
  reviews:
    train: data/movies/train.tsv
    validation: data/movies/dev.tsv
    text: sentence
    label: label
    limit: {ROWS}
stages:
"""

# Two layers of a real model with the words of the rows alone, trained for a moment: float32, int8,
# and as a masked LM.
MODELS = DATA + """\
  - name: teacher
    train:
      model:
        from: models/all-MiniLM-L6-v2
        drop_layers: {strategy: top, keep: 2}
        trim_vocabulary: {data: reviews}
      data: reviews
      for: 20 steps
      batch: 8
      precision: float32
      optimizer: {adamw: {lr: 1e-4}}
  - name: int8
    train:
      model: teacher
      data: reviews
      for: 4 steps
      batch: 8
      precision: float32
      quantization: {weights: int8, activations: int8}
  - name: language
    train:
      model:
        from: models/all-MiniLM-L6-v2
        head: masked_lm
        drop_layers: {strategy: top, keep: 2}
        trim_vocabulary: {data: reviews}
      data: reviews
      for: 20 steps
      batch: 8
      precision: float32
      augment: [masking]
      optimizer: {adamw: {lr: 5e-4}}
"""

STUDENT = DATA + """\
  - name: student
    train:
      model: {from: MODEL, head: HEAD, drop_layers: {strategy: top, keep: 1}}
      teacher: {from: MODEL, OPTIONS}
      data: reviews
      for: 2 epochs
      batch: 4
      precision: float32
      augment: AUGMENT
      objectives: OBJECTIVES
"""
SOFT = "[soft_labels: {temperature: 2}]"
STATES = "[soft_labels: {temperature: 2}, hidden_states: {map: [1]}]"


def tensor(file):
    """Shape and values of the first float32 tensor of a safetensors file."""
    content = file.read_bytes()
    length, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__")
    (entry,) = header.values()
    assert entry["dtype"] == "F32"
    begin, end = entry["data_offsets"]
    return entry["shape"], array.array("f", content[8 + length + begin:8 + length + end])


class TeacherCache(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="compress_teacher_cache_"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        file = cls.shared / "models.yaml"
        file.write_text(MODELS)
        done = command("run", file, "--out", cls.shared / "models")
        assert done.returncode == 0, done.stderr
        cls.models = {name: cls.shared / f"models/stages/{name}/model"
                      for name in ("teacher", "int8", "language")}

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compress_teacher_cache_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.cache = self.folder / "answers"
        self.runs = 0

    def recipe(self, options, objectives=SOFT, model="teacher", augment="[]", change=None):
        text = STUDENT.replace("OPTIONS", options).replace("OBJECTIVES", objectives)
        text = text.replace("MODEL", str(self.models[model])).replace("AUGMENT", augment)
        text = text.replace("HEAD", "masked_lm" if model == "language" else "classification")
        if change:
            self.assertEqual(text.count(change[0]), 1, change)
            text = text.replace(*change)
        self.runs += 1
        file = self.folder / f"recipe{self.runs}.yaml"
        file.write_text(text)
        return file

    def run_student(self, options, *arguments, **how):
        """Losses by step, the log and the weights of a student."""
        file = self.recipe(options, *arguments, **how)
        out = self.folder / f"run{self.runs}"
        done = command("run", file, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        losses = {}
        for line in (out / "metrics.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if "loss" in entry:
                losses[entry["step"]] = {k: v for k, v in entry.items() if k.startswith("loss")}
        self.assertGreaterEqual(len(losses), 4)
        weights = (out / "stages/student/model/model.safetensors").read_bytes()
        return losses, done.stderr, weights

    def refused(self, code, options, *arguments, **how):
        file = self.recipe(options, *arguments, **how)
        done = command("run", file, "--out", self.folder / f"run{self.runs}")
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def cached(self, more=""):
        return f"cache: {{folder: {self.cache}{more}}}"

    def entries(self):
        return sorted(path for path in self.cache.iterdir() if path.is_dir())

    def close(self, one, other, relative):
        self.assertEqual(one.keys(), other.keys())
        for step, terms in one.items():
            self.assertEqual(terms.keys(), other[step].keys())
            for name, value in terms.items():
                # A student that is nearly its teacher has losses near 0: differences of
                # logarithms that float32 rounds to 2^-24 each, four of them (two classes, both
                # sides), times the square of the temperature.
                delta = max(relative * abs(value), 4 * 4 * 2**-24)
                self.assertAlmostEqual(other[step][name], value, delta=delta)

    def test_losses_of_logits_are_those_of_the_teacher_itself(self):
        memory = self.run_student("remember: true")
        first = self.run_student(f"cache: {self.cache}")
        second = self.run_student(f"cache: {self.cache}")
        for found in (first, second):
            self.assertEqual(memory[0], found[0], "not the same bits")
            self.assertTrue(memory[2] == found[2], "other weights")
        self.assertIn(f"teacher cache: logits of {ROWS} rows kept in", first[1])
        self.assertIn(f"teacher cache: logits of {ROWS} rows read from", second[1])
        # Asked in every step, the teacher sees other batches: the last bits of float32 differ.
        self.close(self.run_student("remember: false")[0], first[0], 1e-4)

    def test_losses_of_hidden_states_agree_within_float16(self):
        live = self.run_student("remember: false", STATES)
        first = self.run_student(self.cached(), STATES)
        second = self.run_student(self.cached(), STATES)
        self.assertEqual(first[0], second[0])
        self.assertIn("hidden states 1 of", first[1])
        self.close(live[0], first[0], 2e-3)

    def test_an_entry_is_extended(self):
        self.run_student(self.cached())
        found = self.run_student(self.cached(", hidden: all"), STATES)
        self.assertIn("hidden states 0, 1, 2 of 64 rows added to", found[1])
        names = {path.name for path in self.entries()[0].iterdir()}
        self.assertEqual(names, {"key.json", "lock", "logits.safetensors"} |
                         {f"hidden-{layer}.safetensors" for layer in range(3)})
        self.assertIn("read from", self.run_student(self.cached(), STATES)[1])

    def test_plan_tells_what_is_kept(self):
        done = command("plan", self.recipe(self.cached(), STATES))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"its cache     {self.cache}: logits, hidden states 1\n", done.stdout)
        self.assertFalse(self.cache.exists())

    def test_two_jobs_at_once(self):
        files = [self.recipe(self.cached(), STATES) for _ in range(2)]
        jobs = [subprocess.Popen([BINARY, "run", file, "--out", self.folder / f"job{i}"], cwd=ROOT,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for i, file in enumerate(files)]
        logs = [job.communicate(timeout=600)[1] for job in jobs]
        self.assertEqual([job.returncode for job in jobs], [0, 0], logs)
        self.assertEqual(sum(" kept in " in log for log in logs), 1, logs)
        self.assertEqual(sum(" read from " in log for log in logs), 1, logs)
        weights = [(self.folder / f"job{i}/stages/student/model/model.safetensors").read_bytes()
                   for i in range(2)]
        self.assertTrue(weights[0] == weights[1])

    def test_another_teacher_or_other_data_are_refused(self):
        self.run_student(self.cached())
        only = self.cached(", missing: refuse")
        self.assertIn("read from", self.run_student(only)[1])
        for changed, how in (("teacher", {"model": "int8"}),
                             ("data", {"change": (f"limit: {ROWS}", f"limit: {ROWS - 4}")}),
                             ("data", {"change": ("label: label",
                                                 "label: label\n    max_length: 9")}),
                             ("precision", {"change": ("float32", "bf16")})):
            with self.subTest(changed):
                error = self.refused(4, only, **how)
                self.assertIn("the teacher cache lacks logits of ", error)
                self.assertRegex(error, rf"differs in: (\w+, )*{changed}\b")
        self.assertEqual(len(self.entries()), 1)
        log = self.run_student(self.cached(), model="int8")[1]
        self.assertRegex(log, r"kept in .* differs in: teacher")
        self.assertEqual(len(self.entries()), 2)

    def test_a_file_from_another_entry_is_refused(self):
        self.run_student(self.cached())
        self.run_student(self.cached(), model="int8")
        one, two = (entry / "logits.safetensors" for entry in self.entries())
        shutil.copyfile(one, two)
        codes = []
        for model in ("teacher", "int8"):
            done = command("run", self.recipe(self.cached(), model=model),
                           "--out", self.folder / f"again-{model}")
            codes.append(done.returncode)
            if done.returncode:
                self.assertIn("answers of another teacher", done.stderr)
                self.assertIn(str(two), done.stderr)
        self.assertEqual(sorted(codes), [0, 4])

    def test_a_masked_lm_needs_fixed_masking(self):
        for verb in ("plan", "run"):
            file = self.recipe(self.cached(), model="language", augment="[masking]")
            done = command(verb, file, *(["--out", self.folder / "x"] if verb == "run" else []))
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("cannot be cached", done.stderr)
            self.assertIn("fixed: true", done.stderr)
            self.assertRegex(done.stderr, re.escape(str(file)) + r":\d+:\d+")

    def test_top_tokens_of_a_masked_lm(self):
        how = {"model": "language", "augment": "[masking: {fixed: true}]"}
        live = self.run_student("remember: false", **how)[0]
        # All tokens but one: the loss over the whole vocabulary, in float16 log-probabilities.
        config = json.loads((self.models["language"] / "config.json").read_text())
        all_but_one = config["vocab_size"] - 1
        most = self.run_student(self.cached(f", top_k: {all_but_one}"), **how)[0]
        few, log, _ = self.run_student(self.cached(", top_k: 64"), **how)
        self.assertIn("read from", log)
        self.close(live, most, 5e-3)
        self.assertGreater(min(terms["loss"] for terms in few.values()), 0)
        error = self.refused(2, self.cached(), "[logits_mse]", **how)
        self.assertIn("logits of the whole vocabulary", error)
        self.assertIn("stages.student.train.objectives", error)

    def test_an_int8_teacher(self):
        self.run_student(self.cached(), model="int8")
        shape, logits = tensor(self.entries()[0] / "logits.safetensors")
        self.assertEqual(shape, [ROWS, 2])
        lines = (ROOT / "data/movies/train.tsv").read_text().splitlines()
        column = lines[0].split("\t").index("label")
        labels = [line.split("\t")[column] == "positive" for line in lines[1:ROWS + 1]]
        right = sum((logits[2 * i + 1] > logits[2 * i]) == label for i, label in enumerate(labels))
        done = command("evaluate", self.models["int8"], "--data", "data/movies/train.tsv",
                       "--text", "sentence", "--limit", ROWS, "--metrics", "accuracy", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertAlmostEqual(json.loads(done.stdout)["metrics"][0]["value"], right / ROWS)
        # It is not the model that it was trained from, and what it says is what it says live.
        shutil.rmtree(self.cache)
        self.run_student(self.cached())
        self.assertNotEqual(tensor(self.entries()[0] / "logits.safetensors")[1], logits)
        live, remembered = (self.run_student(option, model="int8")[0]
                            for option in ("remember: false", self.cached()))
        self.close(live, remembered, 1e-4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
