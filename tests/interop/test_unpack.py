"""tools/unpack.py on whole and on damaged files: a line that says what is wrong, never a traceback.

Run from the repository root: .venv/bin/python tests/interop/test_unpack.py
"""

import importlib.util
import json
import pathlib
import struct
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("unpack", ROOT / "tools/unpack.py")
unpack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(unpack)

VALUES = struct.pack("<3f", 0, 2.5, 0)
HEADER = json.dumps({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
                     "none": {"dtype": "F32", "shape": [0], "data_offsets": [12, 12]}})
PLANES = bytes(VALUES[4 + i] for i in range(4))


def frame(content):
    """A zstd frame of one raw block."""
    block = struct.pack("<I", 1 | len(content) << 3)[:3]
    return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(content)) + block + content


def packed(directory=None, parts=(b"\x02", PLANES, b""), **changes):
    """The file of VALUES under a mask, with these changes to its directory."""
    frames = [frame(part) for part in parts]
    sizes = [[len(part), len(one)] for part, one in zip(parts, frames, strict=True)]
    entries = [["mask", sizes[:2]], ["plain", sizes[2:]]]
    whole = {"version": 1, "header": HEADER, "tensors": entries} | changes
    text = frame(json.dumps(whole).encode() if directory is None else directory)
    return b"CMPRPACK" + struct.pack("<Q", len(text)) + text + b"".join(frames)


class Unpack(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name) / "in"
        self.out = pathlib.Path(scratch.name) / "out"
        self.folder.mkdir()
        (self.folder / "config.json").write_text("{}")

    def run_on(self, content):
        """What it says at the end; None: nothing."""
        (self.folder / "model.packed").write_bytes(content)
        with mock.patch("sys.argv", ["unpack.py", str(self.folder), str(self.out)]):
            try:
                unpack.main()
            except SystemExit as end:
                return str(end.code)
        return None

    def test_a_whole_file_becomes_its_safetensors_file(self):
        self.assertIsNone(self.run_on(packed()))
        self.assertEqual((self.out / "model.safetensors").read_bytes(),
                         struct.pack("<Q", len(HEADER)) + HEADER.encode() + VALUES)
        self.assertEqual((self.out / "config.json").read_text(), "{}")
        self.assertFalse((self.out / "model.packed").exists())
        self.assertIn("is there already", self.run_on(packed()))

    def test_damage_is_told_in_a_line_and_leaves_nothing(self):
        whole = packed()
        damaged = {f"cut at {n}": whole[:n] for n in (0, 7, 15, 16, 40, len(whole) - 1)}
        damaged |= {
            "longer": whole + b"x",
            "no frame": b"CMPRPACK" + struct.pack("<Q", 4) + b"abcd",
            "no end": b"CMPRPACK" + struct.pack("<Q", 1 << 63) + b"abcd",
            "no JSON": packed(b"{"), "a list": packed(b"[]"), "deep": packed(b"[" * 100_000),
            "version": packed(version=2), "no header": packed(header=3),
            "header of a list": packed(header="[1]"),
            "header of texts": packed(header='{"w": "x"}'),
            "tensors": packed(tensors=None), "an entry": packed(tensors=[1, 2]),
            "another mask": packed(parts=(b"\x03", PLANES, b"")),
            "too many bits": packed(parts=(b"\x12", PLANES, b"")),
            "too few values": packed(parts=(b"\x02", b"", b""))}
        for what, content in damaged.items():
            with self.subTest(what):
                said = self.run_on(content)
                self.assertIn("model.packed: ", said)
                self.assertNotIn("\n", said)
                self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
