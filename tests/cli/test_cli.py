"""The command line as a user meets it: wrong input, help, and every subcommand on real files.

Run from the repository root: .venv/bin/python tests/cli/test_cli.py
COMPRESS_BIN names the executable (default build/release/bin/compress).
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from tests.support.program import BINARY, Case, command

MODEL = "models/all-MiniLM-L6-v2"
MOVIES = "data/movies/test.tsv"
QUICKSTART = "configs/quickstart.yaml"
SUBCOMMANDS = ["run", "plan", "compare", "evaluate", "inspect", "export", "explain", "schema",
               "bench", "tokenizer"]

RECIPE = """\
name: test
data:
  reviews:
    train: data/movies/train.tsv
    validation: data/movies/dev.tsv
    test: data/movies/test.tsv
    text: sentence
    label: label
    limit: 64
stages:
  - name: teacher
    train:
      model: {from: models/all-MiniLM-L6-v2, drop_layers: {strategy: top, keep: 2}}
      data: reviews
      for: 120 steps
      batch: 8
      precision: float32
      optimizer: {adamw: {lr: 1e-4}}
      pruning: {magnitude: {sparsity: 50%, begin: 10%, end: 60%}}
      evaluate: {every: 40 steps}
"""


def line_and_column(text, needle):
    """Where `needle` begins, as the program counts: from 1, columns in bytes."""
    before = text[:text.index(needle)]
    return before.count("\n") + 1, len(before.rsplit("\n", 1)[-1].encode()) + 1


class Recipes(Case):
    def refused(self, text, needle, *fragments, code=2, replaced=None):
        """Both plan and run refuse a recipe before any training, naming the place of `needle`."""
        file = self.write(text)
        place = str(file)
        if needle is not None:
            place += ":{}:{}".format(*line_and_column(text, needle))
        out = self.folder / "out"
        for arguments in (("plan", file), ("run", file, "--out", out)):
            error = self.fails(code, *arguments)
            self.assertIn(replaced or place, error)
            for fragment in fragments:
                self.assertIn(fragment, error)
        self.assertFalse(list(out.glob("stages/*/model")), "a refused recipe trained a model")
        return error

    def changed(self, old, new):
        self.assertEqual(RECIPE.count(old), 1, old)
        return RECIPE.replace(old, new)


class WrongRecipes(Recipes):
    def test_unknown_key(self):
        self.refused(self.changed("batch: 8", "bacth: 8"), "bacth", "unknown key 'bacth'",
                     "  hint: did you mean 'batch'?")

    def test_misspelt_component(self):
        self.refused(self.changed("adamw", "adamv"), "adamv",
                     "  hint: did you mean 'adamw'?")

    def test_wrong_type(self):
        self.refused(self.changed("batch: 8", "batch: many"), "many",
                     "expected a whole number, found 'many'")

    def test_value_out_of_range(self):
        self.refused(self.changed("batch: 8", "batch: -8"), "-8", "stages.teacher.train.batch")

    def test_missing_key(self):
        text = self.changed("      for: 120 steps\n", "")
        self.refused(text, "model: {from", "missing required key 'for'")

    def test_duplicate_key(self):
        text = self.changed("batch: 8", "batch: 8\n      batch:   9")
        self.refused(text, "batch:   9", "batch")

    def test_reference_to_a_later_stage(self):
        text = RECIPE + """\
  - name: first
    train: {model: second, data: reviews, for: 1 steps}
  - name: second
    train: {model: teacher, data: reviews, for: 1 steps}
"""
        self.refused(text, "second, data", "comes later", "  hint: move it up")

    def test_reference_to_a_missing_stage(self):
        text = RECIPE + "  - name: next\n    train: {model: techer, data: reviews, for: 1 steps}\n"
        self.refused(text, "techer", "'techer' is neither an earlier stage nor a folder",
                     "  hint: did you mean 'teacher'?")

    def test_sparsity_above_one(self):
        self.refused(self.changed("sparsity: 50%", "sparsity: 1.2"), "1.2", "sparsity")

    def test_zero_epochs(self):
        self.refused(self.changed("120 steps", "0 epochs"), "0 epochs", "stages.teacher.train.for")

    def test_length_without_a_unit(self):
        self.refused(self.changed("120 steps", "120"), "120", "stages.teacher.train.for")

    def test_empty_data_file(self):
        empty = self.folder / "empty.tsv"
        empty.write_text("")
        text = self.changed("data/movies/train.tsv", str(empty))
        self.refused(text, None, "empty", code=3, replaced=str(empty))

    def test_rows_longer_than_the_model(self):
        file = self.folder / "long.tsv"
        file.write_text("sentence\tlabel\nshort\tpositive\n" + "word " * 600 + "\tnegative\n")
        text = RECIPE.replace("data/movies/train.tsv", str(file)).replace(
            "limit: 64", "max_length: 700")
        error = self.fails(3, "run", self.write(text), "--out", self.folder / "out")
        self.assertIn("a text of 602 tokens, and the model has places for 512", error)
        self.assertIn(f"{file}:3", error)
        self.assertIn("hint: set max_length: 512", error)

    def test_missing_data_file(self):
        text = self.changed("data/movies/train.tsv", "data/movies/trian.tsv")
        self.refused(text, "data/movies/trian.tsv", "does not exist", "  hint: ")

    def test_missing_model_folder(self):
        text = self.changed("from: models/all-MiniLM-L6-v2", "from: models/nothing")
        self.refused(text, "models/nothing", "'models/nothing' is neither", "  hint: ")

    def test_tabs(self):
        self.refused(self.changed("      batch: 8", "\tbatch: 8"), "\tbatch", "tab",
                     "  hint: use spaces")

    def test_alias_bomb(self):
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
        started = time.monotonic()
        self.refused("\n".join(lines) + "\n", None)
        self.assertLess(time.monotonic() - started, 20)

    def test_deep_nesting(self):
        self.refused("a: " + "[" * 100_000 + "\n", None)

    def test_huge_file(self):
        file = self.folder / "huge.yaml"
        file.write_text(RECIPE)
        os.truncate(file, 100_000_000)
        self.assertIn(str(file), self.fails(2, "plan", file))

    def test_binary_file(self):
        self.assertIn("  at: ", self.fails(2, "plan", MODEL + "/model.safetensors"))

    def test_missing_recipe(self):
        file = self.write(RECIPE)
        error = self.fails(2, "plan", self.folder / "recpie.yaml")
        self.assertIn("recpie.yaml", error)
        self.assertIn(file.name, error)

    def test_folder_instead_of_recipe(self):
        self.assertIn("folder", self.fails(2, "plan", "configs"))

    def test_several_errors_are_reported_at_once(self):
        text = self.changed("batch: 8", "bacth: 8").replace("lr: 1e-4", "lr: fast")
        text = text.replace("label: label", "label: label\n    task: klassification")
        file = self.write(text)
        error = self.fails(2, "plan", file)
        places = ["{}:{}:{}".format(file, *line_and_column(text, needle))
                  for needle in ("klassification", "bacth", "fast")]
        positions = [error.find(place) for place in places]
        self.assertNotIn(-1, positions, error)
        self.assertEqual(positions, sorted(positions), "not in the order of the file")
        self.assertIn("did you mean 'batch'?", error)

    def test_wrong_override(self):
        file = self.write(RECIPE)
        for assignment, fragment in (("stages.teacher.train.bacth=1", "did you mean 'batch'?"),
                                     ("stages.techer.train.batch=1", "did you mean 'teacher'?"),
                                     ("stages.teacher.train.batch=x", "expected a whole number"),
                                     ("stages.teacher.train.batch", "key=value")):
            error = self.fails(2, "plan", file, "--set", assignment)
            self.assertIn("stages.te", error)
            self.assertIn(fragment, error)


class WrongCommandLines(Recipes):
    def test_unknown_subcommand(self):
        self.assertIn("  hint: did you mean 'explain'?", self.fails(2, "explian"))

    def test_unknown_option(self):
        error = self.fails(2, "plan", QUICKSTART, "--sett", "a=b")
        self.assertIn("unknown option '--sett'", error)
        self.assertIn("  hint: did you mean '--set'?", error)

    def test_unknown_option_without_a_subcommand(self):
        self.assertIn("did you mean '--version'?", self.fails(2, "--versoin"))

    def test_global_option_is_suggested_below_a_subcommand(self):
        error = self.fails(2, "plan", QUICKSTART, "--thread", "2")
        self.assertIn("did you mean '--threads'?", error)

    def test_missing_argument(self):
        self.assertIn("RECIPE", self.fails(2, "plan"))

    def test_unexpected_argument(self):
        error = self.fails(2, "plan", QUICKSTART, "another.yaml")
        self.assertIn("unexpected argument 'another.yaml'", error)

    def test_no_subcommand(self):
        self.assertIn("run, plan", self.fails(2))

    def test_bad_values_of_options(self):
        for arguments in (["--threads", "0", "schema"], ["--threads", "x", "schema"],
                          ["--log-level", "loud", "schema"], ["run", QUICKSTART, "--seeds", "1,x"],
                          ["run", QUICKSTART, "--seeds", "1..3,2"],
                          ["bench", QUICKSTART, "--stage", "teacher", "--steps", "0"],
                          ["compare", "runs/a", "runs/b", "--p", "nan"],
                          ["export", MODEL, "--format", "packed", "--out", "x",
                           "--tolerance", "nan"]):
            with self.subTest(arguments):
                self.fails(2, *arguments)
        self.assertIn("see `compress bench --help`", self.fails(2, "bench", QUICKSTART))

    def test_unknown_component_metric_format_and_stage(self):
        self.assertIn("did you mean 'soft_labels'?", self.fails(2, "explain", "soft_lables"))
        self.assertIn("did you mean 'accuracy'?",
                      self.fails(2, "evaluate", MODEL, "--data", MOVIES, "--metrics", "acuracy"))
        self.assertIn("did you mean 'huggingface'?",
                      self.fails(2, "export", MODEL, "--format", "hugingface",
                                 "--out", self.folder / "x"))
        self.assertIn("techer", self.fails(2, "bench", QUICKSTART, "--stage", "techer"))

    def test_missing_model(self):
        for arguments in (["inspect", "models/nothing"],
                          ["evaluate", "models/nothing", "--data", MOVIES],
                          ["export", "models/nothing", "--format", "huggingface",
                           "--out", self.folder / "x"]):
            with self.subTest(arguments):
                self.assertIn("models/nothing", self.fails(4, *arguments))


class Information(Recipes):
    def test_version(self):
        text = self.succeeds("--version")
        self.assertRegex(text, r"\Acompress \d+\.\d+\.\d+ \(\w+(-dirty)?\)\nLibTorch +2\.11")
        for word in ("CUDA GPUs", "processor", "threads"):
            self.assertIn(word, text)

    def test_threads(self):
        self.assertRegex(self.succeeds("--version", "--threads", "3"), r"threads +3\n")
        self.assertRegex(self.succeeds("--threads=1", "--version"), r"threads +1\n")

    def test_help_has_an_example(self):
        self.assertIn("Example: compress run", self.succeeds("--help"))
        for name in SUBCOMMANDS:
            with self.subTest(name):
                self.assertIn(f"Example: compress {name}", self.succeeds(name, "--help"))

    def test_schema(self):
        schema = json.loads(self.succeeds("schema"))
        self.assertEqual(schema["$schema"], "https://json-schema.org/draft/2020-12/schema")
        self.assertIn("stages", schema["properties"])

    def test_explain_every_component(self):
        overview = self.succeeds("explain")
        document = self.succeeds("explain", "--markdown-all")
        names = re.findall(r"^### `(.+)`$", document, re.MULTILINE)
        self.assertIn("soft_labels", names)
        self.assertTrue(self.succeeds("explain", names[0]).startswith(names[0] + " ("))
        text = self.succeeds("explain", *names)
        for name in names:
            with self.subTest(name):
                self.assertIn(f" {name} ", overview)
                self.assertRegex(text, rf"(?m)^{re.escape(name)} \(")

    def test_methods_document_is_current(self):
        kept = pathlib.Path("docs/methods.md").read_text()
        self.assertEqual(kept, self.succeeds("explain", "--markdown-all"),
                         "run: compress explain --markdown-all > docs/methods.md")

    def test_recipe_document_is_current(self):
        kept = pathlib.Path("docs/recipe.md").read_text()
        printed = self.succeeds("explain", "--markdown-recipe")
        self.assertEqual(kept, printed, "run: compress explain --markdown-recipe > docs/recipe.md")

    def test_explain_tells_sections_of_a_recipe(self):
        text = self.succeeds("explain", "teacher")
        for word in ("from", "floor", "cache", "remember"):
            self.assertIn(word, text)
        self.assertIn("objectives", self.succeeds("explain", "train"))

    def test_errors_document_names_every_code(self):
        header = pathlib.Path("include/compress/base/error.h").read_text()
        document = pathlib.Path("docs/errors.md").read_text()
        kinds = re.findall(r"^  (\w+), +// exit (\d+):", header, re.MULTILINE)
        self.assertEqual(len(kinds), 11)
        for kind, code in kinds:
            self.assertRegex(document, rf"(?m)^\| {code} \| [^|]*{kind}")

    def test_plan_is_quick(self):
        def seconds():
            started = time.monotonic()
            text = self.succeeds("plan", QUICKSTART)
            for stage in ("## teacher", "## student", "## sparse", "## int8", "## release"):
                self.assertIn(stage, text)
            return time.monotonic() - started
        self.assertLess(min(seconds() for _ in range(3)), 2)

    def test_override_is_in_the_plan(self):
        text = self.succeeds("plan", QUICKSTART, "--set", "stages.teacher.train.batch=48")
        self.assertIn("batch: 48", text)

    def test_closed_output_is_no_crash(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([BINARY, "schema"], stdout=writer, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_full_disk_is_told(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BINARY, "schema"], stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 8, done.stderr)


# Of the vocabulary the words that the rows have: a model of a few megabytes.
SMALL = RECIPE.replace("keep: 2}}", "keep: 2}, trim_vocabulary: {data: reviews}}")


class RealModel(Recipes):
    def test_inspect(self):
        text = self.succeeds("inspect", MODEL)
        for fragment in ("family        bert", "6 layers, 384 wide", "22,713,216",
                         "model.safetensors"):
            self.assertIn(fragment, text)

    def test_inspect_as_json(self):
        found = json.loads(self.succeeds("inspect", MODEL, "--json", "--tensors"))
        self.assertEqual(found["parameters"]["weights"], 22_713_216)
        self.assertEqual(found["encoder_matrices"]["weights"], 6 * (4 * 384 * 384 + 2 * 384 * 1536))
        self.assertEqual(sum(t["weights"] for t in found["tensors"].values()), 22_713_216)
        self.assertEqual(found["files"]["model.safetensors"],
                         os.path.getsize(MODEL + "/model.safetensors"))
        self.assertEqual(len(found["per_layer"]), 6)

    def test_evaluate_needs_a_head(self):
        error = self.fails(4, "evaluate", MODEL, "--data", MOVIES, "--text", "sentence")
        self.assertIn("head", error)

    def test_export_and_read_again(self):
        target = self.folder / "exported"
        text = self.succeeds("export", MODEL, "--format", "huggingface", "--out", target)
        self.assertIn("huggingface", text)
        self.assertTrue((target / "model.safetensors").is_file())
        self.assertTrue((target / "compress_run.json").is_file())
        before = json.loads(self.succeeds("inspect", MODEL, "--json"))
        after = json.loads(self.succeeds("inspect", target, "--json"))
        self.assertEqual(before["parameters"], after["parameters"])

    def test_export_never_replaces_a_foreign_folder(self):
        (self.folder / "letters.txt").write_text("dear")
        error = self.fails(8, "export", MODEL, "--format", "huggingface", "--out", self.folder)
        self.assertIn("not empty", error)
        self.assertEqual((self.folder / "letters.txt").read_text(), "dear")
        self.fails(2, "export", MODEL, "--format", "huggingface", "--out", MODEL)

    def test_quantised_format_needs_a_quantised_model(self):
        self.fails(2, "export", MODEL, "--format", "compressed-tensors",
                   "--out", self.folder / "x")


class Runs(Recipes):
    """Real training of a two-layer model on 64 sentences: seconds."""

    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="compress_cli_run_"))
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.file = cls.shared / "recipe.yaml"
        cls.file.write_text(SMALL)
        cls.done = command("run", cls.file, "--out", cls.shared / "whole")
        cls.model = cls.shared / "whole/stages/teacher/model"

    def setUp(self):
        super().setUp()
        self.assertEqual(self.done.returncode, 0, self.done.stderr)

    def test_result_is_printed(self):
        self.assertIn("teacher", self.done.stdout)
        self.assertIn("accuracy", self.done.stdout)

    def test_second_run_skips(self):
        done = command("run", self.file, "--out", self.shared / "whole")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("skipped", done.stderr)
        quiet = command("run", self.file, "--out", self.shared / "whole", "--quiet")
        self.assertEqual((quiet.returncode, quiet.stderr), (0, ""))

    def test_missed_expectation(self):
        file = self.write(SMALL + """\
expect:
  - {stage: teacher, metric: accuracy, at_least: 2}
""")
        done = command("run", file, "--out", self.shared / "whole")
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("MISSED", done.stdout)
        self.assertIn("error: expectation missed: 1 of 1", done.stderr)

    def test_stopped_run_goes_on_to_the_same_weights(self):
        out = self.folder / "stopped"
        process = subprocess.Popen([BINARY, "run", self.file, "--out", out], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        metrics = out / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not (metrics.exists() and '"step":20,' in metrics.read_text().replace(" ", "")):
            self.assertLess(time.monotonic(), deadline, "no step 20 within two minutes")
            self.assertIsNone(process.poll(), "the run ended before it could be stopped")
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 6, errors)
        self.assertIn("error: interrupted: stopped at step", errors)
        self.assertIn("  hint: run the same command again", errors)
        self.assertTrue((out / "stages/teacher/state.safetensors").exists())
        done = command("run", self.file, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        resumed = (out / "stages/teacher/model/model.safetensors").read_bytes()
        self.assertTrue(resumed == (self.model / "model.safetensors").read_bytes(),
                         "resuming changed the weights")

    def test_a_teacher_and_the_student_before_training_are_in_the_result(self):
        text = SMALL.replace("      data: reviews\n", """\
      teacher: {from: %s}
      objectives: [soft_labels: {temperature: 2}]
      data: reviews
""" % self.model).replace("for: 120 steps", "for: 2 steps").replace(
            "keep: 2}, trim_vocabulary: {data: reviews}}", "keep: 1}}").replace(
            "model: {from: models/all-MiniLM-L6-v2", f"model: {{from: {self.model}").replace(
            "evaluate: {", "evaluate: {before: true, ")
        out = self.folder / "taught"
        done = command("run", self.write(text), "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        kept = json.loads((self.model.parent / "stage.json").read_text())
        accuracy = {m["name"]: m["value"] for m in kept["validation"]}["accuracy"]
        result = (out / "result.md").read_text()
        self.assertIn(f"on validation: accuracy {accuracy:.4f}  n 64", result)
        self.assertIn("before training, on validation: accuracy ", result)

    def test_seeds(self):
        text = self.succeeds("run", self.file, "--seeds", "1,2", "--out", self.folder / "seeds",
                             "--set", "stages.teacher.train.for=2 steps")
        for fragment in ("mean", "deviation", "seed 1", "seed 2"):
            self.assertIn(fragment, text)

    def test_evaluate(self):
        arguments = ["evaluate", self.model, "--data", MOVIES, "--text", "sentence",
                     "--limit", "64", "--metrics", "accuracy,f1_macro"]
        self.assertIn("samples/s", self.succeeds(*arguments))
        found = json.loads(self.succeeds(*arguments, "--json"))
        self.assertEqual([(m["name"], m["n"]) for m in found["metrics"]],
                         [("accuracy", 64), ("f1_macro", 64)])
        stage = json.loads((self.model.parent / "stage.json").read_text())
        kept = {m["name"]: m["value"] for m in stage["test"]}
        self.assertAlmostEqual(found["metrics"][0]["value"], kept["accuracy"], delta=1e-9)

    def test_evaluate_on_a_recipe_data_set(self):
        arguments = ["evaluate", self.model, "--recipe", self.file, "--split", "validation"]
        found = json.loads(self.succeeds(*arguments, "--dataset", "reviews", "--json"))
        self.assertEqual(found["rows"], 64)
        self.assertIn("did you mean 'reviews'?",
                      self.fails(2, *arguments, "--dataset", "review"))

    def test_evaluate_wrong_data(self):
        base = ["evaluate", self.model, "--data"]
        self.assertIn("no data was named", self.fails(2, "evaluate", self.model))
        self.fails(3, *base, "data/movies/tset.tsv", "--text", "sentence")
        self.assertIn("sentence", self.fails(3, *base, MOVIES, "--text", "sentense"))
        self.assertIn("--task", self.fails(2, *base, MOVIES, "--task", "classifcation"))
        self.fails(3, *base, "data/movies/ratings_test.tsv", "--text", "sentence",
                   "--label", "rating")

    def test_inspect_tells_the_sparsity(self):
        found = json.loads(self.succeeds("inspect", self.model, "--json"))
        self.assertEqual(found["head"], "classification")
        self.assertEqual(found["labels"], ["negative", "positive"])
        self.assertAlmostEqual(found["encoder_matrices"]["sparsity"], 0.5, delta=0.001)
        self.assertIn("drop_layers", self.succeeds("inspect", self.model))

    def test_export_compares_logits(self):
        text = self.succeeds("export", self.model, "--format", "huggingface",
                             "--out", self.folder / "out", "--data", MOVIES,
                             "--text", "sentence", "--limit", "32")
        self.assertIn("accuracy", text)

    def test_bench(self):
        found = json.loads(self.succeeds("bench", self.file, "--stage", "teacher", "--steps", "3",
                                         "--json"))
        self.assertEqual(found["steps"], 3)
        self.assertGreater(found["samples_per_second"], 0)


if __name__ == "__main__":
    os.chdir(ROOT)
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"{BINARY} is missing: build it (cmake --build build/release) or set COMPRESS_BIN")
    unittest.main(verbosity=2)
