"""GGUF files: generated ones of every type, the real SmolLM2, and damaged ones, through our reader.

The values are compared bit for bit with a reference in numpy, written from the layouts of the
format. Where the `gguf` package happens to be installed, it is a second reference.

Run from the repository root: .venv/bin/python tests/interop/test_gguf.py
COMPRESS_TENSORS_COPY names the helper executable (default build/release/bin/tensors_copy).
"""

import json
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

import numpy as np
from safetensors.numpy import load_file

try:
    import gguf
except ImportError:
    gguf = None

HELPER = os.environ.get("COMPRESS_TENSORS_COPY", "build/release/bin/tensors_copy")
SMOLLM2 = pathlib.Path("models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
# Name: number in the file, elements and bytes of a block.
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20),
         "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84),
         "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
         "Q6_K": (14, 256, 210), "BF16": (30, 1, 2)}
UNREAD = {9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 20: "IQ4_NL", 23: "IQ4_XS", 26: "I32", 39: "MXFP4",
          77: ""}


# ---- reference -----------------------------------------------------------------------------------

def half(blocks, at):
    """The float16 at byte `at` of every block, as a float32 column."""
    return blocks[:, at:at + 2].copy().view(np.float16).astype(np.float32)


def fields(values, width):
    """[n, bytes] to [n, 8 / width, bytes]: the fields of `width` bits, lowest first."""
    shifts = np.arange(0, 8, width, dtype=np.uint8)[None, :, None]
    return values[:, None, :] >> shifts & (2 ** width - 1)


def flat(values):
    return values.reshape(len(values), -1)


def fifth_bits(blocks, at):
    """Bit i of the little-endian 32-bit word is that of element i."""
    return np.unpackbits(blocks[:, at:at + 4], axis=1, bitorder="little")


def small_blocks(name, blocks):
    if name == "Q8_0":
        return blocks[:, 2:].view(np.int8).astype(np.float32) * half(blocks, 0)
    bits, minimum = int(name[1]), name.endswith("_1")
    at = 4 if minimum else 2
    values = flat(fields(blocks[:, at + (4 if bits == 5 else 0):], 4))
    if bits == 5:
        values = values | fifth_bits(blocks, at) << 4
    if minimum:
        return values.astype(np.float32) * half(blocks, 0) + half(blocks, 2)
    return (values.astype(np.int32) - 2 ** (bits - 1)).astype(np.float32) * half(blocks, 0)


def packed_scales(packed):
    """12 bytes to eight scales and eight minimums of 6 bits (Q4_K, Q5_K)."""
    first, second, rest = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, rest & 15 | first >> 6 << 4], axis=1)
    minimums = np.concatenate([second & 63, rest >> 4 | second >> 6 << 4], axis=1)
    return scales.astype(np.float32), minimums.astype(np.float32)


def spread(groups, values):
    """Repeats each group's number over its elements."""
    return np.repeat(groups, values.shape[1] // groups.shape[1], axis=1)


def q2_k(blocks):
    values = np.concatenate([flat(fields(blocks[:, at:at + 32], 2)) for at in (16, 48)], axis=1)
    steps = half(blocks, 80) * (blocks[:, :16] & 15).astype(np.float32)
    lows = half(blocks, 82) * (blocks[:, :16] >> 4).astype(np.float32)
    return spread(steps, values) * values.astype(np.float32) - spread(lows, values)


def q3_k(blocks):
    values = np.concatenate([flat(fields(blocks[:, at:at + 32], 2)) for at in (32, 64)], axis=1)
    third = flat(fields(blocks[:, :32], 1))
    values = values.astype(np.int32) - 4 * (third == 0)
    low = flat(fields(blocks[:, 96:104], 4))
    high = flat(fields(blocks[:, 104:108], 2))
    steps = half(blocks, 108) * ((low | high << 4).astype(np.int32) - 32).astype(np.float32)
    return spread(steps, values) * values.astype(np.float32)


def q45_k(blocks, at):
    """Q4_K, and Q5_K whose fifth bits lie before the values."""
    parts = [flat(fields(blocks[:, at + i:at + i + 32], 4)) for i in range(0, 128, 32)]
    values = np.concatenate(parts, axis=1)
    if at == 48:
        values = values | flat(fields(blocks[:, 16:48], 1)) << 4
    scales, minimums = packed_scales(blocks[:, 4:16])
    steps, lows = half(blocks, 0) * scales, half(blocks, 2) * minimums
    return spread(steps, values) * values.astype(np.float32) - spread(lows, values)


def q6_k(blocks):
    low = np.concatenate([flat(fields(blocks[:, i:i + 64], 4)) for i in (0, 64)], axis=1)
    high = np.concatenate([flat(fields(blocks[:, i:i + 32], 2)) for i in (128, 160)], axis=1)
    values = (low | high << 4).astype(np.int32) - 32
    steps = half(blocks, 208) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return spread(steps, values) * values.astype(np.float32)


def reference(name, data):
    """All values of `data`, flat."""
    data = np.frombuffer(data, np.uint8)
    if name == "F32":
        return data.view(np.float32)
    if name == "F16":
        return data.view(np.float16).astype(np.float32)
    if name == "BF16":
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    blocks = data.reshape(-1, TYPES[name][2])
    large = {"Q2_K": q2_k, "Q3_K": q3_k, "Q4_K": lambda b: q45_k(b, 16),
             "Q5_K": lambda b: q45_k(b, 48), "Q6_K": q6_k}
    with np.errstate(all="ignore"):  # random scales are also infinite or no numbers
        return large.get(name, lambda b: small_blocks(name, b))(blocks).reshape(-1)


# ---- files ---------------------------------------------------------------------------------------

def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def write_gguf(path, tensors, values=(), version=3, alignment=32):
    """`tensors`: (name, number of the type, row-major shape, bytes); `values`: (key, raw value)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(text(key) + raw for key, raw in values)
    data = b""
    for name, number, shape, raw in tensors:
        head += text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", size) for size in reversed(shape))
        head += struct.pack("<IQ", number, len(data))
        data += raw + bytes(-len(raw) % alignment)
    path.write_bytes(head + bytes(-len(head) % alignment) + data)


def read_gguf(path):
    """The tensors' table of a file as {name: (type's number, shape, bytes)}: just enough for this
    test."""
    data = path.read_bytes()
    at = 24
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def number(code):
        nonlocal at
        at += struct.calcsize(code)
        return struct.unpack_from("<" + code, data, at - struct.calcsize(code))[0]

    def string():
        nonlocal at
        size = number("Q")
        at += size
        return data[at - size:at].decode()

    def skip(kind):
        nonlocal at
        if kind == 8:
            string()
        elif kind == 9:
            inner = number("I")
            for _ in range(number("Q")):
                skip(inner)
        else:
            at += sizes[kind]

    count, values = struct.unpack_from("<QQ", data, 8)
    for _ in range(values):
        string()
        skip(number("I"))
    table = []
    for _ in range(count):
        name = string()
        shape = [number("Q") for _ in range(number("I"))][::-1]
        table.append((name, number("I"), shape, number("Q")))
    at += -at % 32
    by_number = {row[0]: row for row in TYPES.values()}
    found = {}
    for name, kind, shape, offset in table:
        _, elements, size = by_number[kind]
        begin = at + offset
        found[name] = (kind, shape, data[begin:begin + int(np.prod(shape)) // elements * size])
    return found


def copy(source, target):
    return subprocess.run([HELPER, str(source), str(target)], stderr=subprocess.PIPE, text=True,
                          timeout=120)


class Gguf(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def read(self, path):
        done = copy(path, self.path / "out.safetensors")
        self.assertEqual(done.returncode, 0, done.stderr)
        described = json.loads((self.path / "out.safetensors.json").read_text())
        return load_file(self.path / "out.safetensors"), described

    def refused(self, path):
        done = copy(path, self.path / "out.safetensors")
        self.assertEqual(done.returncode, 4, done.stderr)
        return done.stderr

    def assert_bits(self, got, want, message):
        """The same bits; of values that are no number, only that they are none."""
        got, want = got.reshape(-1), want.reshape(-1)
        self.assertEqual(got.dtype, np.float32)
        same = (got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(got) & np.isnan(want))
        self.assertTrue(same.all(), f"{message}: {np.flatnonzero(~same)[:4]}")

    def test_every_type_of_random_blocks(self):
        draw = np.random.default_rng(5)
        tensors = []
        for name, (number, elements, size) in TYPES.items():
            shape = (3, 2, 2 * elements * (32 if elements == 1 else 1))
            blocks = int(np.prod(shape)) // elements
            tensors.append((name, number, shape, draw.integers(0, 256, blocks * size,
                                                               dtype=np.uint8).tobytes()))
        every_half = np.arange(65536, dtype=np.uint16).tobytes()
        tensors.append(("halves", 1, (256, 256), every_half))
        tensors.append(("bfloats", 30, (256, 256), every_half))
        for version in (2, 3):
            write_gguf(self.path / "all.gguf", tensors, version=version)
            got, described = self.read(self.path / "all.gguf")
            self.assertEqual(sorted(got), sorted(name for name, *_ in tensors))
            for name, number, shape, raw in tensors:
                kind = described["types"][name]
                self.assertEqual(TYPES[kind][0], number)
                self.assertEqual(got[name].shape, shape)
                self.assert_bits(got[name], reference(kind, raw), name)
                if gguf is not None:
                    with np.errstate(all="ignore"):
                        theirs = gguf.quants.dequantize(np.frombuffer(raw, np.uint8), number)
                    self.assert_bits(got[name], np.ascontiguousarray(theirs).view(np.float32),
                                     f"{name}, gguf package")

    def test_metadata(self):
        def value(kind, code, number):
            return struct.pack("<I" + code, kind, number)

        def array(kind, items):
            return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

        words = [f"token {i} é" for i in range(50000)]
        write_gguf(self.path / "m.gguf", [], [
            ("a.u8", value(0, "B", 200)), ("a.i8", value(1, "b", -5)),
            ("a.u16", value(2, "H", 60000)), ("a.i16", value(3, "h", -300)),
            ("a.u32", value(4, "I", 2 ** 32 - 1)), ("a.i32", value(5, "i", -2 ** 31)),
            ("a.f32", value(6, "f", 0.1)), ("a.bool", value(7, "B", 1)),
            ("a.u64", value(10, "Q", 2 ** 64 - 1)), ("a.i64", value(11, "q", -2 ** 63)),
            ("a.f64", value(12, "d", 0.1)), ("a.text", struct.pack("<I", 8) + text("é\n")),
            ("words", array(8, [text(word) for word in words])),
            ("scores", array(6, [struct.pack("<f", i / 4) for i in range(9)])),
            ("kinds", array(5, [struct.pack("<i", i - 4) for i in range(9)])),
            ("flags", array(7, [b"\0", b"\1"])), ("none", array(4, []))])
        got = self.read(self.path / "m.gguf")[1]["metadata"]
        self.assertEqual(got.pop("words"), words)
        self.assertEqual(got, {
            "a.u8": 200, "a.i8": -5, "a.u16": 60000, "a.i16": -300, "a.u32": 2 ** 32 - 1,
            "a.i32": -2 ** 31, "a.f32": float(np.float32(0.1)), "a.bool": True,
            "a.u64": 2 ** 64 - 1, "a.i64": -2 ** 63, "a.f64": 0.1, "a.text": "é\n",
            "scores": [i / 4 for i in range(9)], "kinds": list(range(-4, 5)), "flags": [0, 1],
            "none": []})

    def test_alignment(self):
        raw = np.arange(5, dtype=np.float32).tobytes()
        tensors = [("a", 0, (5,), raw), ("scalar", 0, (), raw[4:8]), ("b", 0, (1, 5), raw)]
        for alignment in (8, 256):
            key = ("general.alignment", struct.pack("<II", 4, alignment))
            write_gguf(self.path / "a.gguf", tensors, [key], alignment=alignment)
            got, _ = self.read(self.path / "a.gguf")
            for name, _, shape, want in tensors:
                self.assertEqual((got[name].shape, got[name].tobytes()), (shape, want))

    def test_types_that_are_not_read_are_named(self):
        for number, name in UNREAD.items():
            write_gguf(self.path / "u.gguf", [("blk.0.w", number, (256,), bytes(1024))])
            message = self.refused(self.path / "u.gguf")
            self.assertIn(f"type {number} {name}", message)
            self.assertIn("blk.0.w", message)

    @unittest.skipUnless(SMOLLM2.is_file(), "needs tools/fetch SmolLM2-135M-Instruct")
    def test_the_real_smollm2(self):
        got, described = self.read(SMOLLM2)
        metadata = described["metadata"]
        self.assertEqual(metadata["general.architecture"], "llama")
        self.assertEqual(metadata["llama.block_count"], 30)
        self.assertEqual(len(metadata["tokenizer.ggml.tokens"]), 49152)
        self.assertEqual(len(metadata["tokenizer.ggml.token_type"]), 49152)
        self.assertEqual(got["token_embd.weight"].shape, (49152, 576))
        table = read_gguf(SMOLLM2)
        self.assertEqual(sorted(got), sorted(table))
        for name, (number, shape, raw) in table.items():
            kind = described["types"][name]
            self.assertEqual(TYPES[kind][0], number)
            self.assertEqual(list(got[name].shape), shape)
            self.assert_bits(got[name], reference(kind, raw), name)
            # Weights of a trained model are small and centred: a wrong layout would not be.
            self.assertTrue(np.isfinite(got[name]).all(), name)
            if len(shape) == 2:
                self.assertLess(abs(got[name].mean()), 0.2 * got[name].std(), name)
        if gguf is not None:
            for tensor in gguf.GGUFReader(SMOLLM2).tensors:
                theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
                self.assert_bits(got[tensor.name], np.ascontiguousarray(theirs), tensor.name)

    def test_damage_is_refused_or_harmless(self):
        draw = random.Random(3)
        write_gguf(self.path / "good.gguf",
                   [("a.weight", 2, (2, 64), bytes(range(72))), ("b", 0, (3,), bytes(12))],
                   [("k", struct.pack("<II", 4, 1)), ("t", struct.pack("<I", 8) + text("x"))])
        good = (self.path / "good.gguf").read_bytes()
        codes = set()
        for _ in range(120):
            bad = bytearray(good)
            bad[draw.randrange(180)] = draw.choice((0, 1, 8, 9, 0x40, 0x7F, 0xFF))
            (self.path / "bad.gguf").write_bytes(bad[:draw.choice((len(bad), len(bad) - 40))])
            codes.add(copy(self.path / "bad.gguf", self.path / "out.safetensors").returncode)
        self.assertLessEqual(codes, {0, 4})
        self.assertIn(4, codes)


if __name__ == "__main__":
    unittest.main()
