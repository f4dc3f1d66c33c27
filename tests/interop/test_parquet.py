"""tools/parquet2jsonl writes what a Parquet file holds as rows that the program reads.

Run from the repository root: .venv/bin/python tests/interop/test_parquet.py
"""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/parquet2jsonl"


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


if __name__ == "__main__":
    unittest.main()
