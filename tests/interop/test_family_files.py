"""Files of each family as earlier versions and other writers left them, and options that we refuse.

Run from the repository root: .venv/bin/python -m unittest tests/interop/test_family_files.py
"""

import json
import unittest

import torch
from safetensors.torch import load_file, save_file

from tests.interop import family_cases as families
from tests.interop import test_families as common


def bare(prefix):
    return lambda tensors: {name.removeprefix(prefix): value for name, value in tensors.items()}


def renamed(*pairs):
    def change(tensors):
        for old, new in pairs:
            tensors = {name.replace(old, new): value for name, value in tensors.items()}
        return tensors

    return change


def with_copies(source, *names):
    return lambda tensors: {**tensors, **{name: tensors[source].clone() for name in names}}


def with_random(**shapes):
    """Tensors that are no part of the model. '__' in a name is a point."""
    return lambda tensors: {
        **tensors,
        **{name.replace("__", "."): torch.rand(shape) for name, shape in shapes.items()},
    }


GAMMA = renamed(("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
# What the published files of a family have besides the model, or name otherwise.
CHANGES = {
    ("bert", "masked_lm"): {
        "gamma": [
            GAMMA,
            with_copies("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
            with_copies("cls.predictions.bias", "cls.predictions.decoder.bias"),
            with_random(
                bert__pooler__dense__weight=(24, 24),
                bert__pooler__dense__bias=(24,),
                cls__seq_relationship__weight=(2, 24),
                cls__seq_relationship__bias=(2,),
                bert__embeddings__position_ids=(1, 32),
            ),
        ],
    },
    ("bert", "classification"): {"bare": [bare("bert."), GAMMA]},
    ("roberta", "masked_lm"): {
        "copies": [
            with_copies("roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
            with_copies("lm_head.bias", "lm_head.decoder.bias"),
            with_random(
                roberta__pooler__dense__weight=(24, 24),
                roberta__pooler__dense__bias=(24,),
                roberta__embeddings__position_ids=(1, 32),
            ),
        ],
        "bare": [bare("roberta.")],
    },
    ("distilbert", "masked_lm"): {
        "copies": [
            with_copies("distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight")
        ],
        "bare": [bare("distilbert.")],
    },
    ("electra", "replaced_token"): {
        "buffers": [with_random(electra__embeddings__position_ids=(1, 32))]
    },
    ("electra", "masked_lm"): {
        "copies": [
            with_copies("electra.embeddings.word_embeddings.weight", "generator_lm_head.weight"),
        ]
    },
    ("gpt2", "causal_lm"): {
        "bare": [
            bare("transformer."),
            with_random(h__0__attn__bias=(1, 1, 32, 32), h__0__attn__masked_bias=()),
        ],
        "copies": [with_copies("transformer.wte.weight", "lm_head.weight")],
    },
    ("llama", "causal_lm"): {
        "buffers": [with_random(model__layers__0__self_attn__rotary_emb__inv_freq=(3,))]
    },
    ("t5", "seq2seq_lm"): {
        "copies": [
            with_copies(
                "shared.weight",
                "encoder.embed_tokens.weight",
                "decoder.embed_tokens.weight",
                "lm_head.weight",
            ),
            with_random(
                decoder__block__0__layer__1__EncDecAttention__relative_attention_bias__weight=(
                    32,
                    2,
                )
            ),
        ]
    },
    ("bart", "seq2seq_lm"): {
        "copies": [
            with_copies(
                "model.shared.weight",
                "model.encoder.embed_tokens.weight",
                "model.decoder.embed_tokens.weight",
                "lm_head.weight",
            ),
            with_random(model__encoder__version=(1,), model__decoder__version=(1,)),
        ]
    },
    ("bart", "none"): {"prefixed": [lambda tensors: {f"model.{n}": v for n, v in tensors.items()}]},
}

# config.json as transformers 4 wrote it, and as users leave it.
LLAMA3 = families.VARIANTS["llama"]["llama3"][0]["rope_parameters"]
CONFIGS = {
    ("llama", "causal_lm", "grouped"): [
        {"rope_parameters": None, "rope_theta": 10000.0, "rope_scaling": None, "head_dim": None},
        {"rope_parameters": None, "torch_dtype": "float32", "dtype": None},
    ],
    ("llama", "causal_lm", "linear"): [
        {
            "rope_parameters": None,
            "rope_theta": 100.0,
            "rope_scaling": {"type": "linear", "factor": 3.0},
        },
        {
            "rope_parameters": {"rope_type": "default", "rope_theta": 5.0},
            "rope_theta": 100.0,
            "rope_scaling": {"type": "linear", "factor": 3.0},
        },
    ],
    ("llama", "causal_lm", "llama3"): [
        {
            "rope_parameters": None,
            "rope_theta": LLAMA3["rope_theta"],
            "rope_scaling": {key: value for key, value in LLAMA3.items() if key != "rope_theta"},
        },
    ],
    ("qwen2", "causal_lm", "plain"): [
        {"use_sliding_window": False, "sliding_window": 4, "layer_types": None},
    ],
    ("t5", "seq2seq_lm", "gated"): [
        {"tie_word_embeddings": False, "scale_decoder_outputs": None, "is_gated_act": None},
    ],
    ("gpt2", "causal_lm", "plain"): [{"n_ctx": 32, "n_inner": None}],
    ("distilbert", "masked_lm", "plain"): [
        {"tie_weights_": True, "pruned_heads": {}},
        {"hidden_size": 24, "dim": None, "num_hidden_layers": 3, "n_layers": None},
    ],
    ("qwen2", "causal_lm", "tied"): [{"attention_bias": True}],
    ("bart", "seq2seq_lm", "plain"): [{"num_hidden_layers": 2, "classif_dropout": 0.1}],
}

# What we do not compute must not be read as something else. The error names the key.
REFUSED = {
    ("bert", "masked_lm"): [
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"is_causal": True},
        {"add_cross_attention": True},
        {"hidden_act": "gelu_fast"},
        {"tie_word_embeddings": False},
        {"pruned_heads": {"0": [1]}},
        {"type_vocab_size": 0},
        {"hidden_dropout_prob": 1.5},
    ],
    ("bert", "classification"): [{"problem_type": "ranking"}],
    ("roberta", "masked_lm"): [{"tie_word_embeddings": False}, {"is_causal": True}],
    ("electra", "multiple_choice"): [{"summary_type": "mean"}, {"summary_use_proj": False}],
    ("gpt2", "causal_lm"): [
        {"scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_weights": False},
        {"add_cross_attention": True},
    ],
    ("llama", "causal_lm"): [
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
        {"rope_parameters": None, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        {"hidden_act": "mish"},
        {"partial_rotary_factor": 0.5},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0}},
    ],
    ("qwen2", "causal_lm"): [
        {"use_sliding_window": True, "sliding_window": 4},
        {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    ],
    ("qwen3", "causal_lm"): [
        {"use_sliding_window": True, "sliding_window": 4},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    ],
    ("t5", "seq2seq_lm"): [{"feed_forward_proj": "mish"}, {"dense_act_fn": "silu"}],
    ("bart", "seq2seq_lm"): [
        {"activation_function": "mish"},
        {"decoder_attention_heads": 5},
        {"num_hidden_layers": 6},
        {"normalize_before": True},
    ],
}


class Files(common.Folders):
    def case(self, family, head, variant=None, note=""):
        variant = variant or next(iter(families.VARIANTS[family]))
        return families.Case(
            family, head, variant, families.VARIANTS[family][variant][0], note
        )

    def check(self, made):
        problems = common.probe([folder for folder, _ in made])
        for folder, reference in made:
            with self.subTest(reference.case.name):
                self.assertIsNone(problems[str(folder)])
                self.compare(reference, folder)

    def test_names(self):
        made = []
        for (family, head), changes in CHANGES.items():
            for note, steps in changes.items():
                folder, reference = self.make(self.case(family, head, note=note))
                tensors = load_file(folder / "model/model.safetensors")
                for step in steps:
                    tensors = step(tensors)
                save_file(tensors, folder / "model/model.safetensors", {"format": "pt"})
                made.append((folder, reference))
        self.check(made)

    def test_torch_files(self):
        made = []
        for family in families.HEADS:
            folder, reference = self.make(self.case(family, families.HEADS[family][-1], note="bin"))
            (folder / "model/model.safetensors").unlink()
            # state_dict() has tied tables twice, as the writers of such files left them.
            torch.save(reference.model.state_dict(), folder / "model/pytorch_model.bin")
            made.append((folder, reference))
        self.check(made)

    def test_shards(self):
        made = []
        for family in families.HEADS:
            folder, reference = self.make(
                self.case(family, families.HEADS[family][-1], note="shards"),
                max_shard_size="15KB",
            )
            self.assertTrue((folder / "model/model.safetensors.index.json").exists())
            made.append((folder, reference))
        self.check(made)

    def test_configs(self):
        made = []
        for (family, head, variant), changes in CONFIGS.items():
            for i, change in enumerate(changes):
                folder, reference = self.make(self.case(family, head, variant, f"config{i}"))
                self.change_config(folder, change)
                made.append((folder, reference))
        self.check(made)

    def change_config(self, folder, change):
        file = folder / "model/config.json"
        config = json.loads(file.read_text())
        config.update(change)
        file.write_text(
            json.dumps({key: value for key, value in config.items() if value is not None})
        )

    def test_refusals(self):
        folders = {}
        for (family, head), changes in REFUSED.items():
            for i, change in enumerate(changes):
                folder, _ = self.make(self.case(family, head, note=f"refused{i}"))
                self.change_config(folder, change)
                folders[folder] = change
        problems = common.probe(folders)
        for folder, change in folders.items():
            with self.subTest(folder.name, **change):
                problem = problems[str(folder)]
                self.assertIsNotNone(problem)
                words = {**change, **(change.get("rope_parameters") or {})}
                words = [*words, "rope_type", *map(str, words.values())]
                self.assertTrue(any(word in problem for word in words), problem)

    def test_tables_that_are_not_tied(self):
        """Where config.json ties tables that the file has apart, none is left out in silence."""
        folders = {}
        for family, source, table in (
            ("llama", "model.embed_tokens.weight", "lm_head.weight"),
            ("gpt2", "transformer.wte.weight", "lm_head.weight"),
            ("t5", "shared.weight", "lm_head.weight"),
            ("bart", "model.shared.weight", "model.decoder.embed_tokens.weight"),
        ):
            case = self.case(family, families.HEADS[family][-1], note="apart")
            folder, _ = self.make(case)
            self.change_config(folder, {"tie_word_embeddings": True})
            tensors = load_file(folder / "model/model.safetensors")
            tensors[table] = tensors[source] + 0.125
            save_file(tensors, folder / "model/model.safetensors", {"format": "pt"})
            folders[folder] = table.removeprefix("model.")
        problems = common.probe(folders)
        for folder, table in folders.items():
            with self.subTest(folder.name):
                self.assertIn(f"{table}' differs from", problems[str(folder)])


if __name__ == "__main__":
    unittest.main()
