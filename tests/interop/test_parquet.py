"""tools/parquet2jsonl, and the library of the program, write what a Parquet file holds as rows.

Run from the repository root: .venv/bin/python tests/interop/test_parquet.py
"""

import ctypes
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/parquet2jsonl"
PROGRAM = pathlib.Path(os.environ.get("COMPRESS_BIN", ROOT / "build/release/bin/compress"))
LIBRARY = PROGRAM.parent / "libcompress_parquet.so"


@unittest.skipUnless(importlib.util.find_spec("pyarrow"), "pyarrow is not installed")
class Parquet(unittest.TestCase):
    def setUp(self):
        from pyarrow import parquet, table  # pylint: disable=import-outside-toplevel
        self.temporary = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.temporary.name) / "rows.parquet"
        about = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["neg", "pos"]}}}}
        rows = table({"text": ['a "q"', "b\nc", "\u00e9"], "label": [1, 0, -1],
                      "score": [0.5, 1.0, 2.0], "tags": [["x"], [], ["y", "z"]]})
        parquet.write_table(rows.replace_schema_metadata({"huggingface": json.dumps(about)}),
                            self.file, row_group_size=2)

    def tearDown(self):
        self.temporary.cleanup()

    def run_tool(self, *arguments):
        return subprocess.run([sys.executable, TOOL, self.file, *arguments], text=True,
                              capture_output=True, check=False)

    def test_rows_with_the_names_of_classes(self):
        done = self.run_tool()
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()], [
            {"text": 'a "q"', "label": "pos", "score": 0.5, "tags": ["x"]},
            {"text": "b\nc", "label": "neg", "score": 1.0, "tags": []},
            {"text": "\u00e9", "label": "-1", "score": 2.0, "tags": ["y", "z"]}])

    def test_columns_and_names(self):
        done = self.run_tool("--columns", "label", "--names", "label=bad,good")
        self.assertEqual(done.stdout, '{"label": "good"}\n{"label": "bad"}\n{"label": "-1"}\n')
        self.assertIn("no column sentence; the columns are text, label",
                      self.run_tool("--columns", "sentence").stderr)
        self.assertIn("is the number of none of 1 classes",
                      self.run_tool("--names", "label=one").stderr)

    def rows_of_library(self, file):
        """What compress_parquet_rows (src/data/parquet/plugin.h) gives, and what it says."""
        if not LIBRARY.is_file():
            self.skipTest("the program was built without Parquet")
        take = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        out, why = [], ctypes.create_string_buffer(512)

        def write(_, data, count):
            out.append(ctypes.string_at(data, count))
            return 0

        rows = ctypes.CDLL(str(LIBRARY)).compress_parquet_rows
        failed = rows(str(file).encode(), take(write), None, why, ctypes.c_size_t(512))
        self.assertEqual(failed != 0, why.value != b"")
        return b"".join(out), why.value.decode(errors="replace")

    def test_the_library_writes_what_the_tool_does(self):
        from pyarrow import (array, int8, parquet, table,  # pylint: disable=import-outside-toplevel
                             uint64)
        self.assertEqual(list(map(json.loads, self.rows_of_library(self.file)[0].splitlines())),
                         list(map(json.loads, self.run_tool().stdout.splitlines())))
        parquet.write_table(table({
            "s": ["\u00e9\x01\t\"\\/", None, "x"], "small": array([1, -2, None], int8()),
            "large": array([2**64 - 1, 0, 1], uint64()), "real": [0.1, 1.0, 1e-300],
            "bytes": [b"\xff\x00", b"ok", None], "list": [[1, None], [], None],
            "parts": [{"a": "x", "b": [1.5]}, None, {"a": None, "b": []}],
            "coded": array(["p", "q", "p"]).dictionary_encode(), "flag": [True, False, None],
        }), self.file, row_group_size=2)
        self.assertEqual(list(map(json.loads, self.rows_of_library(self.file)[0].splitlines())),
                         list(map(json.loads, self.run_tool().stdout.splitlines())))

    def test_the_library_names_what_it_cannot_write(self):
        from pyarrow import parquet, table  # pylint: disable=import-outside-toplevel
        whole = self.file.read_bytes()
        parquet.write_table(table({"x": [1.0, float("nan")]}), self.file)
        self.assertIn("row 2: a number that is not finite", self.rows_of_library(self.file)[1])
        self.file.write_bytes(whole[: len(whole) // 2])
        self.assertNotEqual(self.rows_of_library(self.file)[1], "")
        draw = random.Random(1)
        for _ in range(200):  # must end, and without a crash
            damaged = bytearray(whole)
            for _ in range(draw.randint(1, 8)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            self.file.write_bytes(damaged)
            self.rows_of_library(self.file)

    def test_arrow_is_loaded_when_it_is_needed(self):
        if not PROGRAM.is_file() or not LIBRARY.is_file():
            self.skipTest("the program was built without Parquet")
        needed = subprocess.run(["ldd", PROGRAM], text=True, capture_output=True, check=False)
        self.assertNotIn("arrow", needed.stdout)


if __name__ == "__main__":
    unittest.main()
