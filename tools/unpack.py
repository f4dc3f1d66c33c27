#!/usr/bin/env python3
"""Makes an ordinary model folder of one that `compress` exported as `packed`.

    tools/unpack.py FOLDER OUT

model.packed becomes model.safetensors, byte for byte what it was made of; the rest is copied. It
needs numpy and zstandard, or instead of the latter the system's libzstd.
"""

import ctypes.util
import json
import math
import pathlib
import shutil
import struct
import sys

import numpy as np

MAGIC = b"CMPRPACK"
LARGEST_DIRECTORY = 100_000_000
SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}
SIZES |= dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1)


class Damaged(Exception):
    pass


def need(good, what):
    if not good:
        raise Damaged(what)


def libzstd():
    """zstd_unpack(frame, size or None) by the system's library."""
    name = ctypes.util.find_library("zstd")
    need(name, "neither the Python package zstandard nor libzstd is installed")
    library = ctypes.CDLL(name)
    library.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    library.ZSTD_getFrameContentSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t] * 2

    def unpack(frame, size):
        claim = library.ZSTD_getFrameContentSize(frame, len(frame))
        need(claim == size if size is not None else claim <= LARGEST_DIRECTORY,
             "a zstd frame is damaged or of another size")
        out = ctypes.create_string_buffer(max(claim, 1))
        found = library.ZSTD_decompress(out, claim, frame, len(frame))
        need(found == claim, "a zstd frame is damaged")
        return out.raw[:claim]

    return unpack


def python_zstd():
    import zstandard

    def unpack(frame, size):
        try:
            claim = zstandard.frame_content_size(frame)
            need(claim == size if size is not None else 0 <= claim <= LARGEST_DIRECTORY,
                 "a zstd frame is damaged or of another size")
            return zstandard.ZstdDecompressor().decompress(frame)
        except zstandard.ZstdError as error:
            raise Damaged(f"a zstd frame is damaged: {error}") from error

    return unpack


def decode(coding, parts, total, size, shape, block):
    """The bytes of one tensor of `total` bytes, elements of `size` bytes."""
    def from_planes(planes):
        return np.frombuffer(planes, np.uint8).reshape(size, -1).T.copy()

    if coding in ("plain", "planes"):
        need(len(parts) == 1 and len(parts[0]) == total, "a tensor is of another size")
        return parts[0] if coding == "plain" else from_planes(parts[0]).tobytes()
    need(coding in ("mask", "blocks"), f"unknown coding {coding!r}")
    rows, columns = shape if coding == "blocks" else (1, total // size)
    high, wide = block
    need(rows % high == 0 and columns % wide == 0, "blocks do not divide their tensor")
    count = rows // high * (columns // wide)
    need(len(parts) == 2 and len(parts[0]) == (count + 7) // 8, "a mask is of another size")
    bits = np.unpackbits(np.frombuffer(parts[0], np.uint8), bitorder="little")
    need(not bits[count:].any() and int(bits.sum()) * high * wide * size == len(parts[1]),
         "a mask does not fit what it masks")
    kept = bits[:count].astype(bool).reshape(rows // high, columns // wide)
    out = np.zeros((total // size, size), np.uint8)
    out[kept.repeat(high, 0).repeat(wide, 1).ravel()] = from_planes(parts[1])
    return out.tobytes()


def unpack(packed):
    """Bytes of the packed file -> bytes of the safetensors file."""
    try:
        zstd = python_zstd()
    except ImportError:
        zstd = libzstd()
    need(packed[:8] == MAGIC and len(packed) >= 16, "is no packed model")
    at = 16 + struct.unpack("<Q", packed[8:16])[0]
    need(at <= len(packed), "ends inside its directory")
    directory = json.loads(zstd(packed[16:at], None))
    need(isinstance(directory, dict) and directory.get("version") == 1, "is of a later version")
    need(isinstance(directory.get("header"), str), "its directory has no header")
    header = directory["header"].encode()
    tensors = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
    tensors.sort(key=lambda entry: entry["data_offsets"])
    need(len(tensors) == len(directory["tensors"]), "has another number of tensors")
    out = [struct.pack("<Q", len(header)), header]
    end = 0
    for entry, (coding, sizes, *block) in zip(tensors, directory["tensors"], strict=True):
        begin, total = entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0]
        size = SIZES[entry["dtype"]]
        need(begin == end and total == size * math.prod(entry["shape"]), "offsets do not fit")
        end += total
        parts = []
        for whole, stored in sizes:
            need(0 <= stored <= len(packed) - at and 0 <= whole <= total, "a part is too long")
            parts.append(zstd(packed[at:at + stored], whole))
            at += stored
        out.append(decode(coding, parts, total, size, entry["shape"], *block or [(1, 1)]))
    need(at == len(packed), "bytes follow the last tensor")
    return b"".join(out)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(pathlib.Path, sys.argv[1:])
    try:
        weights = unpack((source / "model.packed").read_bytes())
    except (Damaged, OSError) as error:
        sys.exit(f"{source / 'model.packed'}: {getattr(error, 'strerror', None) or error}")
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        sys.exit(f"{source / 'model.packed'}: its directory is damaged ({e!r})")
    if target.exists():
        sys.exit(f"{target}: is there already; name a new folder")
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.name == "model.packed":
            continue
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, target / path.name)
    (target / "model.safetensors").write_bytes(weights)


if __name__ == "__main__":
    main()
