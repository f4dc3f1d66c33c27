"""The program as tests of its command line run it. COMPRESS_BIN names the executable."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
# Waiting threads of OpenMP sleep instead of spinning: other programs may share the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def command(*arguments, **options):
    """Runs the program to its end; what it wrote is text unless `text=False`."""
    settings = {"cwd": ROOT, "text": True, "timeout": 600, **options}
    return subprocess.run([BINARY, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, **settings)


class Case(unittest.TestCase):
    """A test with a folder of its own."""

    OPTIONS = {}  # of every command

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compress_test_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def command(self, *arguments, **options):
        return command(*arguments, **{**self.OPTIONS, **options})

    def write(self, text, name="recipe.yaml"):
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        return file

    def runs(self, *arguments, **options):
        """A command that ends well: its output and its messages."""
        done = self.command(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def succeeds(self, *arguments, **options):
        """The output of a command that ends well."""
        return self.runs(*arguments, **options).stdout

    def fails(self, code, *arguments, says="", **options):
        """What a command says that fails, which must be an orderly failure."""
        done = self.command(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        self.assertRegex(done.stderr, r"(?m)^error: ")
        for word in ("terminate called", "Segmentation", "internal error", "report it"):
            self.assertNotIn(word, done.stderr)
        self.assertIn(says, done.stderr)
        return done.stderr
