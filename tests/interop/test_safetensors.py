"""The safetensors library reads what we write, and we read what it writes, bit for bit.

Run from the repository root: .venv/bin/python tests/interop/test_safetensors.py
COMPRESS_SAFETENSORS_COPY names the helper executable (default
build/release/bin/safetensors_copy).
"""

import json
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

HELPER = os.environ.get("COMPRESS_SAFETENSORS_COPY", "build/release/bin/safetensors_copy")
REAL_MODEL = pathlib.Path("models/all-MiniLM-L6-v2")
TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
         torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2]


def copy(source, target, *shard_bytes):
    return subprocess.run([HELPER, str(source), str(target), *map(str, shard_bytes)],
                          stderr=subprocess.PIPE, text=True, timeout=60)


def sample():
    """One tensor of every type with random bits (odd sizes first by name), a scalar, an empty."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for number, dtype in enumerate(TYPES):
        count = 3 * (2 * number + 1)
        size = torch.empty((), dtype=dtype).element_size()
        top = 2 if dtype == torch.bool else 256
        raw = torch.randint(0, top, (count * size,), dtype=torch.uint8, generator=generator)
        tensors[f"{99 - number}.{dtype}"] = raw.view(dtype).reshape(3, -1)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 4)
    tensors['odd "name" é \\'] = torch.arange(3, dtype=torch.int16)
    return tensors


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Safetensors(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def assert_same(self, got, want):
        self.assertEqual(sorted(got), sorted(want))
        for name, tensor in want.items():
            self.assertEqual(got[name].dtype, tensor.dtype, name)
            self.assertEqual(got[name].shape, tensor.shape, name)
            self.assertEqual(bits(got[name]), bits(tensor), name)

    def test_every_type_both_ways(self):
        want = sample()
        save_file(want, self.path / "theirs.safetensors", metadata={"format": "pt", "k": "é\n"})
        done = copy(self.path / "theirs.safetensors", self.path / "ours.safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_same(load_file(self.path / "ours.safetensors"), want)
        with safe_open(self.path / "ours.safetensors", "pt") as file:
            self.assertEqual(file.metadata(), {"format": "pt", "k": "é\n"})

    def test_shards(self):
        want = sample()
        save_file(want, self.path / "theirs.safetensors")
        done = copy(self.path / "theirs.safetensors", self.path, 300)
        self.assertEqual(done.returncode, 0, done.stderr)
        index = json.loads((self.path / "model.safetensors.index.json").read_text())
        total = sum(tensor.numel() * tensor.element_size() for tensor in want.values())
        self.assertEqual(index["metadata"], {"total_size": total})
        shards = sorted(set(index["weight_map"].values()))
        self.assertGreater(len(shards), 2)
        loaded = {}
        for shard in shards:
            part = load_file(self.path / shard)
            for name in part:
                self.assertEqual(index["weight_map"][name], shard)
            loaded.update(part)
        self.assert_same(loaded, want)
        done = copy(self.path, self.path / "joined.safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_same(load_file(self.path / "joined.safetensors"), want)

    @unittest.skipUnless(REAL_MODEL.is_dir(), "needs tools/fetch")
    def test_transformers_loads_a_real_model_in_shards(self):
        from transformers import AutoModel

        done = copy(REAL_MODEL, self.path, 20_000_000)
        self.assertEqual(done.returncode, 0, done.stderr)
        (self.path / "config.json").write_bytes((REAL_MODEL / "config.json").read_bytes())
        got = AutoModel.from_pretrained(self.path)
        self.assert_same(got.state_dict(), AutoModel.from_pretrained(REAL_MODEL).state_dict())

    def test_damage_that_they_refuse_we_refuse(self):
        save_file({"a": torch.arange(6.0), "b": torch.ones(3, dtype=torch.int8)},
                  self.path / "good.safetensors")
        good = (self.path / "good.safetensors").read_bytes()
        header_end = 8 + struct.unpack("<Q", good[:8])[0]
        draw = random.Random(7)
        refused = 0
        for _ in range(150):
            bad = bytearray(good)
            at = draw.randrange(header_end)
            bad[at] = draw.choice(b'{}[]",:0123456789 x') if at >= 8 else draw.randrange(256)
            (self.path / "bad.safetensors").write_bytes(bad)
            try:
                load_file(self.path / "bad.safetensors")
            except (SafetensorError, KeyError, RuntimeError):
                refused += 1
                done = copy(self.path / "bad.safetensors", self.path / "out.safetensors")
                self.assertEqual(done.returncode, 4, bytes(bad[:header_end]))
        self.assertGreater(refused, 50)


if __name__ == "__main__":
    unittest.main()
