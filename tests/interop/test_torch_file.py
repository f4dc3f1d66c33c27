"""Files of torch.save, new and old, through our reader, bit for bit; pickles that run are refused.

Run from the repository root: .venv/bin/python tests/interop/test_torch_file.py
COMPRESS_TENSORS_COPY names the helper executable (default build/release/bin/tensors_copy).
"""

import collections
import io
import json
import os
import pathlib
import pickle
import random
import subprocess
import tempfile
import unittest
import zipfile

import numpy
import torch
from safetensors.torch import load_file

HELPER = os.environ.get("COMPRESS_TENSORS_COPY", "build/release/bin/tensors_copy")
REAL_MODEL = pathlib.Path("models/all-MiniLM-L6-v2")
TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
         torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2]
FORMATS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False},
           "zip, protocol 4": {"pickle_protocol": 4}, "zip, protocol 5": {"pickle_protocol": 5},
           "legacy, protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4}}


def copy(source, target):
    return subprocess.run([HELPER, str(source), str(target)], stderr=subprocess.PIPE, text=True,
                          timeout=60)


def random_tensor(dtype, count, generator):
    size = torch.empty((), dtype=dtype).element_size()
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (count * size,), dtype=torch.uint8,
                        generator=generator)
    return raw.view(dtype)


def sample():
    """Every type, plain and transposed; shared storages; offsets; odd strides; parameters."""
    generator = torch.Generator().manual_seed(3)
    tensors = collections.OrderedDict()
    for dtype in TYPES:
        whole = random_tensor(dtype, 3 * 4 * 5, generator).reshape(3, 4, 5)
        tensors[f"{dtype}.plain"] = whole
        tensors[f"{dtype}.transposed"] = whole.transpose(0, 2)
        tensors[f"{dtype}.part"] = whole[1:, 2]
    base = torch.arange(1000.0)
    tensors["tied.a"] = tensors["tied.b"] = base.reshape(25, 40)
    tensors["offset"] = base[17:29]
    tensors["column"] = base.reshape(25, 40)[:, 7]
    tensors["every.third"] = base[1::3]
    tensors["diagonal"] = base.reshape(10, 10, 10).diagonal(dim1=0, dim2=2)
    tensors["repeated"] = torch.tensor([1.5, 2.5]).expand(4, 2)
    tensors["one.by.one"] = base.as_strided((1, 3, 1), (7, 1, 900), 3)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["scalar.inside"] = base[5]
    tensors["empty"] = torch.zeros(0, 4)
    tensors["empty.transposed"] = torch.zeros(3, 0).t()
    tensors["parameter"] = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.bfloat16))
    tensors["frozen"] = torch.nn.Parameter(base.reshape(25, 40).t(), requires_grad=False)
    tensors["wants.grad"] = torch.ones(3, requires_grad=True)
    tensors["é \"'\\ \n"] = torch.ones(1)
    return tensors


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()




class Bomb:
    def __init__(self, call, *arguments):
        self.call = (call, arguments)

    def __reduce__(self):
        return self.call


class TorchFile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def assert_reads(self, source, want, message=None):
        done = copy(source, self.path / "out.safetensors")
        self.assertEqual(done.returncode, 0, f"{message}: {done.stderr}")
        got = load_file(self.path / "out.safetensors")
        self.assertEqual(sorted(got), sorted(want), message)
        for name, tensor in want.items():
            self.assertEqual(got[name].dtype, tensor.dtype, (message, name))
            self.assertEqual(got[name].shape, tensor.shape, (message, name))
            self.assertEqual(bits(got[name]), bits(tensor), (message, name))

    def refused(self, source):
        done = copy(source, self.path / "out.safetensors")
        self.assertEqual(done.returncode, 4, done.stderr)
        return done.stderr

    def test_everything_in_every_format(self):
        want = sample()
        for message, options in FORMATS.items():
            with self.subTest(message):
                torch.save(want, self.path / "pytorch_model.bin", **options)
                self.assert_reads(self.path / "pytorch_model.bin", want, message)

    def test_plain_dict_and_folder(self):
        torch.save({"a": torch.ones(2)}, self.path / "pytorch_model.bin")
        self.assert_reads(self.path, {"a": torch.ones(2)})

    def test_safetensors_win_in_a_folder(self):
        from safetensors.torch import save_file

        torch.save({"a": torch.ones(2)}, self.path / "pytorch_model.bin")
        save_file({"a": torch.zeros(2)}, self.path / "model.safetensors")
        self.assert_reads(self.path, {"a": torch.zeros(2)})

    def test_state_dict_of_a_module(self):
        module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4),
                                     torch.nn.Embedding(5, 3))
        module[2].weight = torch.nn.Parameter(torch.randn(3, 5).t())
        for options in FORMATS.values():
            torch.save(module.state_dict(), self.path / "m.pt", **options)  # has _metadata
            self.assert_reads(self.path / "m.pt", module.state_dict())

    def test_shards(self):
        want = sample()
        names = sorted(want)
        index = {"metadata": {"total_size": 1}, "weight_map": {}}
        for number in range(3):
            shard = f"pytorch_model-{number + 1:05}-of-00003.bin"
            torch.save({name: want[name] for name in names[number::3]}, self.path / shard,
                       **list(FORMATS.values())[number])
            index["weight_map"].update({name: shard for name in names[number::3]})
        (self.path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        self.assert_reads(self.path, want)

    @unittest.skipUnless(REAL_MODEL.is_dir(), "needs tools/fetch")
    def test_a_real_model(self):
        want = load_file(REAL_MODEL / "model.safetensors")
        for options in list(FORMATS.values())[:2]:
            torch.save(want, self.path / "pytorch_model.bin", **options)
            self.assert_reads(self.path, want)

    def test_nothing_else_is_read_and_nothing_runs(self):
        touched = self.path / "touched"
        cases = {
            "posix.system": Bomb(os.system, f"touch {touched}"),
            "builtins.eval": Bomb(eval, f"open({str(touched)!r}, 'w')"),
            "builtins.getattr": Bomb(getattr, torch.Size, "mro"),
            "torch.serialization.load": Bomb(torch.load, str(touched)),
            "numpy": numpy.float64(3),
            "torch.complex64": torch.zeros(2, dtype=torch.complex64),
            "torch.uint16": torch.zeros(2, dtype=torch.uint16),
            "torch._utils._rebuild_sparse_tensor": torch.eye(2).to_sparse(),
            "torch.device": torch.device("cpu"),
            "properties that are not read": torch.zeros(2, dtype=torch.complex64).conj().imag,
        }
        for words, value in cases.items():
            for message, options in FORMATS.items():
                with self.subTest(words, format=message):
                    torch.save({"a": torch.ones(2), "b": value}, self.path / "b.bin", **options)
                    error = self.refused(self.path / "b.bin")
                    if not (words == "torch.complex64" and "ComplexFloatStorage" in error):
                        self.assertIn(words, error.replace("__builtin__", "builtins"))
        self.assertFalse(touched.exists())

    def test_other_contents_are_refused_with_a_reason(self):
        cases = {"dictionary": torch.ones(2), "'step'": {"step": 3},
                 "'model'": {"model": {"a": torch.ones(2)}}, "name": {3: torch.ones(2)}}
        for words, value in cases.items():
            torch.save(value, self.path / "o.bin")
            self.assertIn(words, self.refused(self.path / "o.bin"))
        (self.path / "o.bin").write_bytes(pickle.dumps({"a": 1}, 2))
        self.assertIn("is a pickle", self.refused(self.path / "o.bin"))

    def test_a_huge_repeated_view_is_refused(self):
        torch.save({"a": torch.ones(1).expand(1 << 20, 1 << 20)}, self.path / "h.bin")
        self.assertIn("larger than the file", self.refused(self.path / "h.bin"))

    def test_a_compressed_archive_is_refused(self):
        torch.save({"a": torch.ones(2)}, self.path / "a.bin")
        with (zipfile.ZipFile(self.path / "a.bin") as source,
              zipfile.ZipFile(self.path / "c.bin", "w", zipfile.ZIP_DEFLATED) as target):
            for info in source.infolist():
                target.writestr(info.filename, source.read(info))
        self.assertIn("compressed entry", self.refused(self.path / "c.bin"))

    def test_an_archive_written_by_zipfile_is_read(self):
        torch.save({"a": torch.ones(2)}, self.path / "a.bin")
        with (zipfile.ZipFile(self.path / "a.bin") as source,
              zipfile.ZipFile(self.path / "s.bin", "w") as target):
            target.comment = b"a comment"
            for info in source.infolist():
                with target.open(info.filename, "w", force_zip64=True) as out:
                    out.write(source.read(info))
        self.assert_reads(self.path / "s.bin", {"a": torch.ones(2)})

    def test_damage_is_refused_or_harmless(self):
        draw = random.Random(7)
        for options in ({}, {"_use_new_zipfile_serialization": False}):
            buffer = io.BytesIO()
            torch.save({"a": torch.ones(2, 3).t(), "b": torch.ones(3)}, buffer, **options)
            good = buffer.getvalue()
            codes = collections.Counter()
            for _ in range(100):
                bad = bytearray(good)
                for _ in range(draw.randrange(1, 4)):
                    bad[draw.randrange(len(bad))] = draw.choice((0, 1, 0x2E, 0x52, 0x7F, 0xFF))
                (self.path / "bad.bin").write_bytes(bad[:len(bad) - draw.choice((0, 0, 0, 40))])
                codes[copy(self.path / "bad.bin", self.path / "out.safetensors").returncode] += 1
            self.assertLessEqual(set(codes), {0, 4}, codes)
            self.assertGreater(codes[4], 20)


if __name__ == "__main__":
    unittest.main()
