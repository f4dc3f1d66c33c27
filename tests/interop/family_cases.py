"""Small random models of each family as transformers makes them, for test_families.py."""

import dataclasses

import torch
import transformers

# What we call a head, and the class that picks a family's model with it.
AUTO = {
    "none": transformers.AutoModel,
    "classification": transformers.AutoModelForSequenceClassification,
    "regression": transformers.AutoModelForSequenceClassification,
    "token_classification": transformers.AutoModelForTokenClassification,
    "span": transformers.AutoModelForQuestionAnswering,
    "multiple_choice": transformers.AutoModelForMultipleChoice,
    "masked_lm": transformers.AutoModelForMaskedLM,
    "causal_lm": transformers.AutoModelForCausalLM,
    "seq2seq_lm": transformers.AutoModelForSeq2SeqLM,
    "replaced_token": transformers.AutoModelForPreTraining,
}
BASE = ("none", "classification", "regression", "token_classification", "span")
ENCODER = (*BASE, "multiple_choice", "masked_lm")
DECODER = (*BASE, "causal_lm")
HEADS = {
    "bert": ENCODER,
    "roberta": ENCODER,
    "xlm-roberta": ENCODER,
    "distilbert": ENCODER,
    "electra": (*ENCODER, "replaced_token"),
    "gpt2": DECODER,
    "llama": DECODER,
    "mistral": DECODER,
    "qwen2": DECODER,
    "qwen3": DECODER,
    "t5": (*BASE, "seq2seq_lm"),
    "bart": ("none", "classification", "regression", "span", "seq2seq_lm"),
    "opt": ("none", "classification", "regression", "span", "causal_lm"),
}
# Classes that transformers has besides: decoders made of encoders, a decoder alone, and the classes
# that a family was pre-trained with, which are among the others.
NOT_OURS = {
    "bert": {"causal_lm", "replaced_token"},
    "roberta": {"causal_lm", "replaced_token"},
    "xlm-roberta": {"causal_lm", "replaced_token"},
    "distilbert": {"replaced_token"},
    "electra": {"causal_lm"},
    "gpt2": {"replaced_token"},
    "t5": {"replaced_token"},
    "bart": {"causal_lm", "masked_lm", "replaced_token"},
}
# What we write of a classifier, though transformers can do without.
PROBLEMS = {"classification": "single_label_classification", "regression": "regression"}
VOCABULARY = 67
# Of weights. T5 does not scale its scores: with larger ones they are in the tens, and float32's
# rounding grows from layer to layer, in transformers as well.
DEVIATION = {"t5": 0.12}


@dataclasses.dataclass(frozen=True)
class Case:
    family: str
    head: str
    variant: str
    options: dict
    note: str = ""

    @property
    def name(self):
        words = (self.family, self.head, self.variant, self.note)
        return "-".join(word for word in words if word)

    @property
    def auto(self):
        return AUTO[self.head]


_BERT = dict(
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=32,
    type_vocab_size=2,
)
_ROBERTA = {**_BERT, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
_DISTILBERT = dict(dim=24, n_layers=3, n_heads=4, hidden_dim=40, max_position_embeddings=32)
_ELECTRA = {**_BERT, "embedding_size": 12}
_GPT2 = dict(n_embd=24, n_layer=3, n_head=4, n_positions=32, pad_token_id=0, bos_token_id=2,
    eos_token_id=2)
_LLAMA = dict(
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=40,
    max_position_embeddings=32,
    pad_token_id=0,
    rms_norm_eps=1e-5,
)
_LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500.0,
    factor=4.0,
    original_max_position_embeddings=8,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
)
_QWEN3 = {**_LLAMA, "head_dim": 8}
_T5 = dict(d_model=24, d_kv=8, d_ff=40, num_layers=3, num_heads=2, decoder_start_token_id=0)
_T5_SMALL_REACH = dict(relative_attention_num_buckets=8, relative_attention_max_distance=7)
_BART = dict(
    d_model=24,
    encoder_layers=2,
    decoder_layers=3,
    encoder_attention_heads=4,
    decoder_attention_heads=3,
    encoder_ffn_dim=40,
    decoder_ffn_dim=32,
    max_position_embeddings=32,
)

# Options of a family, the heads that are tried with them: all, or some.
VARIANTS = {
    "bert": {
        "plain": (_BERT, None),
        "relu": (dict(_BERT, hidden_act="relu", classifier_dropout=0.3), BASE),
        "types": (dict(_BERT, type_vocab_size=3, hidden_act="gelu_new"), ("none", "masked_lm")),
        "eps": (dict(_BERT, layer_norm_eps=1e-3, pad_token_id=3), ("classification",)),
    },
    "roberta": {
        "plain": (_ROBERTA, None),
        "relu": (
            dict(_ROBERTA, hidden_act="relu", classifier_dropout=0.3, type_vocab_size=2),
            ("none", "classification", "masked_lm"),
        ),
    },
    "xlm-roberta": {"plain": (_ROBERTA, None)},
    "distilbert": {
        "plain": (_DISTILBERT, None),
        "sinusoidal": (
            dict(_DISTILBERT, sinusoidal_pos_embds=True, activation="relu"),
            ("none", "classification", "masked_lm"),
        ),
        "untied": (dict(_DISTILBERT, tie_word_embeddings=False), ("masked_lm",)),
    },
    "electra": {
        "narrow": (_ELECTRA, None),
        "equal": (dict(_ELECTRA, embedding_size=24), None),
        "summary": (
            dict(_ELECTRA, hidden_act="relu", summary_activation="tanh", classifier_dropout=0.3),
            ("multiple_choice", "classification", "replaced_token"),
        ),
        "untied": (dict(_ELECTRA, tie_word_embeddings=False), ("masked_lm",)),
    },
    "gpt2": {
        "plain": (_GPT2, None),
        "inner": (
            dict(_GPT2, n_inner=36, activation_function="relu", layer_norm_epsilon=1e-3),
            ("none", "causal_lm"),
        ),
        "untied": (dict(_GPT2, tie_word_embeddings=False), ("causal_lm",)),
    },
    "opt": {
        "plain": (
            dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=4, ffn_dim=40,
                 word_embed_proj_dim=24, max_position_embeddings=32),
            None,
        ),
    },
    "llama": {
        "grouped": (_LLAMA, None),
        "tied": (dict(_LLAMA, tie_word_embeddings=True, num_key_value_heads=4), ("causal_lm",)),
        "biases": (dict(_LLAMA, attention_bias=True, mlp_bias=True), ("none", "causal_lm")),
        "wide": (dict(_LLAMA, head_dim=8, num_key_value_heads=1), ("none", "causal_lm")),
        "theta": (
            dict(_LLAMA, rope_parameters=dict(rope_type="default", rope_theta=100.0)),
            ("causal_lm",),
        ),
        "linear": (
            dict(_LLAMA, rope_parameters=dict(rope_type="linear", rope_theta=100.0, factor=3.0)),
            ("causal_lm",),
        ),
        "llama3": (dict(_LLAMA, rope_parameters=_LLAMA3), ("causal_lm",)),
    },
    "mistral": {
        "window": (dict(_LLAMA, sliding_window=4), None),
        "whole": (dict(_LLAMA, sliding_window=None, head_dim=8), ("none", "causal_lm")),
    },
    "qwen2": {
        "plain": (_LLAMA, None),
        "tied": (
            dict(_LLAMA, tie_word_embeddings=True, use_sliding_window=False, sliding_window=4),
            ("causal_lm",),
        ),
    },
    "qwen3": {
        "plain": (_QWEN3, None),
        "tied": (
            dict(_QWEN3, tie_word_embeddings=True, attention_bias=True, num_key_value_heads=4),
            ("none", "causal_lm"),
        ),
    },
    "t5": {
        "relu": (_T5, None),
        "gated": (
            dict(
                _T5,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
                num_decoder_layers=2,
                d_kv=12,
                **_T5_SMALL_REACH,
            ),
            ("none", "seq2seq_lm"),
        ),
        "silu": (
            dict(_T5, feed_forward_proj="gated-silu", layer_norm_epsilon=1e-3, **_T5_SMALL_REACH),
            ("none", "seq2seq_lm"),
        ),
    },
    "bart": {
        "plain": (_BART, None),
        "scaled": (
            dict(_BART, scale_embedding=True, activation_function="relu", decoder_layers=1),
            ("none", "seq2seq_lm"),
        ),
    },
}


def cases(families):
    for family in families:
        for variant, (options, heads) in VARIANTS[family].items():
            for head in heads or HEADS[family]:
                yield Case(family, head, variant, options)


def heads_of(family):
    """The heads that transformers has a class for."""
    config = transformers.AutoConfig.for_model(family)
    return {head for head, auto in AUTO.items() if type(config) in auto._model_mapping}


def config_of(case):
    labels = 1 if case.head == "regression" else 3
    named = case.head in ("classification", "regression", "token_classification")
    names = {"num_labels": labels} if named else {}
    return transformers.AutoConfig.for_model(
        case.family, vocab_size=VOCABULARY, **names, **case.options
    )


def make(case, seed):
    """A model none of whose tensors is zero or one throughout."""
    config = config_of(case)
    if case.head in PROBLEMS:
        config.problem_type = PROBLEMS[case.head]
    torch.manual_seed(seed)
    model = case.auto.from_config(config, attn_implementation="eager").eval()
    if case.variant == "gated" and case.head == "seq2seq_lm":
        untie(model, "lm_head.weight")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mean = 1.0 if is_norm_weight(name, parameter) else 0.0
            if "position_embeddings" in name and getattr(config, "sinusoidal_pos_embds", False):
                continue
            parameter.normal_(mean, DEVIATION.get(case.family, 0.2))
        for name, buffer in model.named_buffers():
            if name == "final_logits_bias":
                buffer.normal_(0, 0.2)
    return model


def is_norm_weight(name, parameter):
    return parameter.dim() == 1 and name.endswith(".weight")


def untie(model, name):
    """T5 1.1 has an output table of its own, though transformers builds it tied."""
    module, _, attribute = name.rpartition(".")
    old = model.get_parameter(name)
    setattr(model.get_submodule(module), attribute, torch.nn.Parameter(torch.empty_like(old)))
    model.all_tied_weights_keys.pop(name)
