"""Tokenizers that real packages ship, as tools/fetch leaves them in models/: for each the path that
our program loads, and what the `tokenizers` library is to say. Used by test_tokenizer_files.py and
test_tokenizer_lines.py."""

import json
import struct
from pathlib import Path

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

MODELS = Path(__file__).resolve().parents[2] / "models"


def model(name):
    if not (MODELS / name).is_dir():
        raise AssertionError(f"models/{name} is missing: run tools/fetch")
    return MODELS / name


def gguf_metadata(data):
    """The metadata of a GGUF file: enough of a reader for this test."""
    place = 0

    def take(form):
        nonlocal place
        size = struct.calcsize("<" + form)
        values = struct.unpack_from("<" + form, data, place)
        place += size
        return values[0]

    def value(kind):
        nonlocal place
        if kind == 8:
            size = take("Q")
            text = bytes(data[place:place + size]).decode()
            place += size
            return text
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return take("BbHhIif?__Qqd"[kind])

    assert take("I") == 0x46554747
    take("I")
    take("Q")
    return {value(8): value(take("I")) for _ in range(take("Q"))}


# Each takes a temporary folder, and returns the path and the reference.


def minilm(_):
    folder = model("all-MiniLM-L6-v2")
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    reference.no_padding()
    reference.no_truncation()
    return folder, reference


def smollm2(folder):
    file = next(model("SmolLM2-135M-Instruct").glob("*.gguf"))
    with open(file, "rb") as data:
        metadata = gguf_metadata(data.read(8 << 20))
    m = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
    assert (m["model"], m["pre"]) == ("gpt2", "smollm")
    merges = [tuple(merge.split(" ")) for merge in m["merges"]]
    reference = Tokenizer(models.BPE({t: i for i, t in enumerate(m["tokens"])}, merges))
    reference.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens([t for t, kind in zip(m["tokens"], m["token_type"])
                                  if kind == 3])
    parts = {"model": m["model"], "pre": m["pre"], "tokens": m["tokens"],
             "types": m["token_type"], "merges": m["merges"], "bos": m["bos_token_id"],
             "eos": m["eos_token_id"], "add_bos": m.get("add_bos_token", False)}
    path = Path(folder, "smollm2.ggml.json")
    path.write_text(json.dumps(parts))
    return path, reference


def gpt2(_):
    from transformers import GPT2Tokenizer
    folder = model("gpt2-tokenizer")
    return folder, GPT2Tokenizer.from_pretrained(folder)._tokenizer


def deepseek(_):
    folder = model("deepseek-tokenizer")
    return folder, Tokenizer.from_file(str(folder / "tokenizer.json"))


def mistral(_):
    from transformers import LlamaTokenizer
    folder = model("mistral-tokenizer")
    return folder, LlamaTokenizer.from_pretrained(folder)._tokenizer


def j2(folder):
    """A SentencePiece model as a tokenizer.json, as its pieces reach over spaces."""
    path = model("j2-tokenizer") / "spiece.model"
    file = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    reference = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in file.pieces],
                                         file.trainer_spec.unk_id))
    reference.normalizer = normalizers.Precompiled(file.normalizer_spec.precompiled_charsmap)
    reference.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    reference.decoder = decoders.Metaspace(prepend_scheme="never", split=False)
    reference.save(f"{folder}/tokenizer.json")
    Path(folder, "spiece.model").symlink_to(path)
    return folder, reference


SHIPPED = [minilm, smollm2, gpt2, deepseek, mistral, j2]
