"""GGUF files as models: the same outputs as transformers computes from the same weights.

SmolLM2 is the real file; transformers gets its weights through the folder that we write, which are
compared one by one with what numpy makes of the file. Small models of each architecture go the
other way: transformers makes them, and they are written as the usual converters would.

Run from the repository root: .venv/bin/python tests/interop/test_gguf_models.py
COMPRESS_EXPORT_MODEL names the helper executable (default build/release/bin/export_model).
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy as np
import torch
import transformers
import transformers.utils.logging
from safetensors.torch import load_file

import test_gguf as container

transformers.utils.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELPER = os.environ.get("COMPRESS_EXPORT_MODEL", str(ROOT / "build/release/bin/export_model"))
SMOLLM2 = ROOT / container.SMOLLM2
MINILM = ROOT / "models/all-MiniLM-L6-v2"
CLOSE = 1e-4  # of the largest output: float32 in another order of sums
IDS = [[3, 14, 15, 9, 26, 5, 35, 8], [9, 7], list(range(2, 40))]


def helper(*words):
    done = subprocess.run([HELPER, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise AssertionError(f"export_model {words} failed: {done.stderr}")
    return json.loads(done.stdout)


def value(kind, item):
    """A value of the metadata as bytes."""
    if kind == 8:
        return struct.pack("<I", 8) + container.text(item)
    return struct.pack("<I" + {4: "I", 5: "i", 6: "f", 7: "?"}[kind], kind, item)


def listing(kind, items):
    packed = b"".join(container.text(item) if kind == 8 else
                      struct.pack({5: "<i", 6: "<f"}[kind], item) for item in items)
    return struct.pack("<IIQ", 9, kind, len(items)) + packed


def paired(weight, heads):
    """What converters to Llama's architecture do to query and key."""
    shape = weight.shape
    halves = weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:])
    return halves.swapaxes(1, 2).reshape(shape)


def raw(tensor, kind="F32"):
    array = tensor.detach().float().numpy()
    if kind == "F16":
        array = array.astype(np.float16)
    return container.TYPES[kind][0], array.shape, np.ascontiguousarray(array).tobytes()


LLAMA_LAYER = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
               "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
               "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
               "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
               "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
BERT_LAYER = {"attention.self.query": "attn_q", "attention.self.key": "attn_k",
              "attention.self.value": "attn_v", "attention.output.dense": "attn_output",
              "attention.output.LayerNorm": "attn_output_norm", "intermediate.dense": "ffn_up",
              "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
GPT2_LAYER = {"attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_1": "attn_norm",
              "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
           "embeddings.word_embeddings": "token_embd",
           "embeddings.position_embeddings": "position_embd",
           "embeddings.token_type_embeddings": "token_types",
           "embeddings.LayerNorm": "token_embd_norm", "transformer.wte": "token_embd",
           "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm"}


def gguf_name(name):
    module, suffix = name.rsplit(".", 1)
    if module in OUTSIDE:
        return f"{OUTSIDE[module]}.{suffix}"
    for prefix, table in (("model.layers.", LLAMA_LAYER), ("encoder.layer.", BERT_LAYER),
                          ("transformer.h.", GPT2_LAYER)):
        if module.startswith(prefix):
            layer, rest = module[len(prefix):].split(".", 1)
            return f"blk.{layer}.{table[rest]}.{suffix}"
    raise KeyError(name)


def convert(model, path, arch, values, kind="F32"):
    """Writes a model of transformers as a converter would."""
    config = model.config
    tensors = []
    tied = bool(getattr(config, "tie_word_embeddings", False))
    for name, tensor in model.state_dict().items():
        if name.startswith("pooler.") or (tied and name == "lm_head.weight"):
            continue
        if arch == "llama" and ".q_proj." in name:
            tensor = paired(tensor, config.num_attention_heads)
        if arch == "llama" and ".k_proj." in name:
            tensor = paired(tensor, config.num_key_value_heads)
        if any(part in name for part in ("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            tensor = tensor.T
        tensors.append((gguf_name(name), *raw(tensor, kind if tensor.dim() == 2 else "F32")))
    keys = [("general.architecture", value(8, arch))]
    keys += [(key if key.startswith("tokenizer.") else f"{arch}.{key}", packed)
             for key, packed in values.items()]
    container.write_gguf(path, tensors, keys)


def common(config, **more):
    return {"block_count": value(4, config.num_hidden_layers),
            "context_length": value(4, config.max_position_embeddings),
            "embedding_length": value(4, config.hidden_size),
            "attention.head_count": value(4, config.num_attention_heads), **more}


def decoder_values(config):
    out = common(config, **{"feed_forward_length": value(4, config.intermediate_size),
                            "attention.head_count_kv": value(4, config.num_key_value_heads),
                            "attention.layer_norm_rms_epsilon": value(6, config.rms_norm_eps),
                            "rope.freq_base": value(6, 20000.0)})
    if config.model_type == "qwen3":
        out["attention.key_length"] = out["attention.value_length"] = value(4, config.head_dim)
    if getattr(config, "sliding_window", None):
        out["attention.sliding_window"] = value(4, config.sliding_window)
    return out


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_grad_enabled(False)
        torch.manual_seed(11)
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.root = pathlib.Path(keep.name)

    def ours(self, model, lines, *options):
        """Token logits (or hidden states) of each line, and its ids."""
        (self.root / "lines").write_text("\n".join(lines) + "\n", encoding="utf-8")
        helper("outputs", self.root / "lines", model, f"save={self.root / 'out.safetensors'}",
               *options)
        found = load_file(self.root / "out.safetensors")
        return [(found[f"ids.{i}"], found[f"outputs.{i}"]) for i in range(len(lines))]

    def assert_close(self, ours, theirs, what):
        scale = theirs.abs().max().item()
        difference = (ours.reshape(theirs.shape) - theirs).abs().max().item()
        self.assertLessEqual(difference, CLOSE * scale, what)

    def check(self, model, path, what):
        lines = ["#" + " ".join(map(str, ids)) for ids in IDS]
        for ids, (read, found) in zip(IDS, self.ours(path, lines)):
            self.assertEqual(read.tolist(), ids)
            self.assert_close(found, model(torch.tensor([ids])).logits[0], what)

    def test_decoders(self):
        shape = dict(vocab_size=64, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, intermediate_size=80, max_position_embeddings=128,
                     rope_theta=20000.0, bos_token_id=1, eos_token_id=2)
        for arch, make, more in (
                ("llama", transformers.LlamaConfig, {}),
                ("llama", transformers.LlamaConfig, {"tie_word_embeddings": True}),
                ("llama", transformers.MistralConfig, {"sliding_window": 6}),
                ("qwen2", transformers.Qwen2Config, {}),
                ("qwen3", transformers.Qwen3Config, {"head_dim": 16})):
            config = make(**shape, **more)
            model = transformers.AutoModelForCausalLM.from_config(config).eval()
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
            path = self.root / f"{config.model_type}.gguf"
            with self.subTest(config.model_type, **more):
                convert(model, path, arch, decoder_values(config))
                self.check(model, path, config.model_type)

    def test_gpt2(self):
        config = transformers.GPT2Config(vocab_size=64, n_embd=48, n_layer=2, n_head=4,
                                         n_positions=64, bos_token_id=1, eos_token_id=2)
        model = transformers.GPT2LMHeadModel(config).eval()
        values = common(config, **{"feed_forward_length": value(4, 192),
                                   "attention.layer_norm_epsilon": value(6, 1e-5)})
        convert(model, self.root / "gpt2.gguf", "gpt2", values)
        self.check(model, self.root / "gpt2.gguf", "gpt2")

    @unittest.skipUnless(SMOLLM2.is_file(), "needs tools/fetch SmolLM2-135M-Instruct")
    def test_the_real_smollm2(self):
        folder = self.root / "smollm2"
        helper("make", SMOLLM2, folder, "huggingface", "head=keep")
        self.weights_are_those_of_the_file(load_file(folder / "model.safetensors"))
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        texts = ["The capital of France is", "Gravity is a force that",
                 "def add(a, b):\treturn a + b  # 3 apples", "Ein Satz auf Deutsch, naïve café."]
        for text, (ids, logits) in zip(texts, self.ours(SMOLLM2, texts)):
            self.assertEqual(tokenizer(text)["input_ids"], ids.tolist(), text)
            self.assert_close(logits, model(ids[None].long()).logits[0], text)
        # Enough of the model is right that it knows this; a wrong order of rows leaves nothing.
        _, logits = self.ours(SMOLLM2, texts[:1])[0]
        self.assertEqual(tokenizer.decode([int(logits.reshape(-1, 49152)[-1].argmax())]), " Paris")

    def weights_are_those_of_the_file(self, written):
        by_name = {gguf_name(name): tensor for name, tensor in written.items()}
        table = container.read_gguf(SMOLLM2)
        self.assertEqual(sorted(by_name), sorted(table))
        kinds = {number: name for name, (number, *_) in container.TYPES.items()}
        for name, (number, shape, data) in table.items():
            want = container.reference(kinds[number], data).reshape(shape)
            heads = {"attn_q": 9, "attn_k": 3}.get(name.split(".")[-2])
            got = by_name[name]
            if heads:
                got = paired(got, heads)
            self.assertTrue(np.array_equal(got.numpy(), want), name)

    @unittest.skipUnless(MINILM.is_dir(), "needs tools/fetch all-MiniLM-L6-v2")
    def test_minilm_as_gguf(self):
        model = transformers.AutoModel.from_pretrained(MINILM).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(MINILM)
        words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
        special = set(tokenizer.all_special_tokens)
        spelt = [word if word in special else word[2:] if word.startswith("##") else "\u2581" + word
                 for word in words]
        values = common(model.config, **{
            "feed_forward_length": value(4, model.config.intermediate_size),
            "attention.layer_norm_epsilon": value(6, model.config.layer_norm_eps),
            "pooling_type": value(4, 1), "tokenizer.ggml.model": value(8, "bert"),
            "tokenizer.ggml.tokens": listing(8, spelt),
            "tokenizer.ggml.token_type": listing(5, [3 if w in special else 1 for w in words]),
            "tokenizer.ggml.cls_token_id": value(4, tokenizer.cls_token_id),
            "tokenizer.ggml.seperator_token_id": value(4, tokenizer.sep_token_id)})
        texts = (ROOT / "data/movies/test.tsv").read_text(encoding="utf-8").splitlines()[1:13]
        texts = [line.split("\t")[-1] for line in texts]
        for kind in ("F32", "F16"):
            path = self.root / f"minilm.{kind}.gguf"
            convert(model, path, "bert", values, kind)
            if kind == "F16":
                for parameter in model.parameters():
                    if parameter.dim() == 2:
                        parameter.copy_(parameter.half())
            for text, (ids, hidden) in zip(texts, self.ours(path, texts, "what=hidden")):
                theirs = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
                self.assertEqual(theirs["input_ids"][0].tolist(), ids.tolist(), text)
                self.assert_close(hidden, model(**theirs).last_hidden_state[0], text)


if __name__ == "__main__":
    unittest.main()
