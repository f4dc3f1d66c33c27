"""Stand-ins for what a paper's recipe reads: a few rows at the paths of its data, and models with
the layers and heads of the real ones, two numbers a head, at the paths of its models. The real
sizes are those of tests/standins/models."""

import json
import pathlib
import random
import shutil
import string
import struct

ROOT = pathlib.Path(__file__).resolve().parents[2]
STANDINS = ROOT / "tests/standins"
WORDS = ["the", "film", "was", "good", "bad", "plot", "a", "dull", "fine", "house", "old", "new"]
COLUMNS = ("text", "pair", "label", "answer", "answer_start", "target", "weight", "group")
ROWS = 6  # one update an epoch


# --- rows

def parts_of(options):
    """The files of a data set."""
    parts = [options.get(part) for part in ("train", "validation", "test")]
    return [part for part in parts if isinstance(part, str)]


def text_of(row):
    return " ".join(WORDS[(row * 5 + place) % len(WORDS)] for place in range(3 + row % 3))


def cell(key, options, row):
    """What a column of a row says; `key` is what the recipe calls it."""
    task = options.get("task", "classification")
    if key == "label":
        if task == "regression":
            return str(row % 5 + 0.5)
        classes = options.get("labels") or ["no", "yes"]
        return str(classes[row % len(classes)])
    if key == "weight":
        return "1.5"
    if key == "group":
        return f"g{row // 2}"
    return text_of(row + 7 * (key != "text"))


def columns_of(options):
    """Columns by name, with what they are."""
    found = {str(options[key]): key for key in COLUMNS if key in options}
    for key in ("choices", "soft_labels"):
        found.update({str(name): key for name in options.get(key, [])})
    return found


def squad():
    paragraphs = []
    for row in range(ROWS):
        context = text_of(row) + " house"
        paragraphs.append({"context": context, "qas": [
            {"id": f"q{row}", "question": text_of(row + 1),
             "answers": [{"text": "house", "answer_start": context.index("house")}]}]})
    return json.dumps({"version": "1.1", "data": [{"title": "rows", "paragraphs": paragraphs}]})


def write_rows(file, wanted):
    """`wanted`: the options of each data set that reads the file. Each class has a row."""
    rows, named, columns = [], True, {}
    count = max([ROWS, *(len(options.get("labels", [])) for options in wanted)])
    for options in wanted:
        columns.update({name: (key, options) for name, key in columns_of(options).items()})
        named = named and options.get("header", True)
    kind = wanted[0].get("format") or file.suffix.lstrip(".")
    if kind == "squad" or file.suffix == ".json":
        return file.write_text(squad())
    if kind == "jsonl":
        for row in range(count):
            rows.append(json.dumps({name: cell(*columns[name], row) for name in columns}))
        return file.write_text("\n".join(rows) + "\n")
    comma = "," if kind == "csv" else "\t"
    names = list(columns) if named else [str(n) for n in range(1 + max(map(int, columns)))]
    if named:
        rows.append(comma.join(names))
    for row in range(count):
        cells = [cell(*columns[name], row) if name in columns else "-" for name in names]
        rows.append(comma.join(cells))
    return file.write_text("\n".join(rows) + "\n")


def share_labels(sets):
    """Class names that one data set lists are those of its files, whoever else reads them."""
    for listed in [options["labels"] for options in sets if "labels" in options]:
        for options in sets:
            if "label" in options and options.get("task", "classification") == "classification":
                options.setdefault("labels", listed)


def kept_at(name):
    """Where tests/standins has what a recipe looks for under data/."""
    return STANDINS / pathlib.Path(name).relative_to("data")


def write_vectors(file):
    """Words with vectors, as GloVe's text files have them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{word} {n % 3} {n % 5} 1" for n, word in enumerate(WORDS)]
    file.write_text("\n".join(lines) + "\n")


def make_data(recipe, folder):
    """Each data file of a recipe, the benchmark's own stand-in where tests/standins has it."""
    wanted = {}
    share_labels(recipe.get("data", {}).values())
    for options in recipe.get("data", {}).values():
        if "folder" in options:  # of a published layout
            shutil.copytree(kept_at(options["folder"]), folder / options["folder"],
                            dirs_exist_ok=True)
        for part in parts_of(options):
            wanted.setdefault(part, []).append(options)
    for stage in recipe.get("stages", []):
        if vectors := stage.get("augment_rows", {}).get("vectors"):
            write_vectors(folder / vectors)
    for name, readers in wanted.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if kept_at(name).is_file():
            shutil.copy(kept_at(name), file)
        else:
            write_rows(file, readers)


# --- tokenizers

def byte_letters():
    """The letters by which byte-level vocabularies spell bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + n) for n in range(len(others))]


def write_tokenizer(folder, family):
    """Returns the number of its tokens."""
    config = {}
    if family in ("bert", "distilbert"):
        letters = string.ascii_lowercase + string.digits + string.punctuation
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *WORDS]
        tokens = list(dict.fromkeys(tokens + ["##" + letter for letter in letters]))
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    elif family == "t5":
        tokens = ["<pad>", "</s>", "<unk>", "\u2581",
                  *string.ascii_letters, *string.digits, *string.punctuation]
        scores = [[token, 0.0 if n < 3 else -3.0] for n, token in enumerate(tokens)]
        special = [{"id": n, "content": tokens[n], "single_word": False, "lstrip": False,
                    "rstrip": False, "normalized": False, "special": True} for n in range(3)]
        space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
                 "split": True}
        end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
        first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        (folder / "tokenizer.json").write_text(json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
            "normalizer": None, "pre_tokenizer": space, "decoder": space,
            "post_processor": {
                "type": "TemplateProcessing", "single": [first, end],
                "pair": [first, end, second, end],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
            "model": {"type": "Unigram", "unk_id": 2, "vocab": scores, "byte_fallback": False}}))
        config = {"tokenizer_class": "T5TokenizerFast", "eos_token": "</s>", "pad_token": "<pad>",
                  "unk_token": "<unk>"}
    else:
        roberta = family in ("roberta", "bart")
        special = (["<s>", "<pad>", "</s>", "<unk>"] if roberta
                   else ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        tokens = [*special, *byte_letters(), *(["<mask>"] if roberta else [])]
        (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(tokens)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        if roberta:
            config = {"tokenizer_class": f"{family.capitalize()}Tokenizer", "bos_token": "<s>",
                      "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>",
                      "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
        else:
            end = "<|endoftext|>"
            config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": end, "eos_token": end,
                      "unk_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)


# --- models

def narrow(config, tokens):
    """The same layers and heads, two numbers a head."""
    family = config["model_type"]
    small = dict(config, vocab_size=tokens)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
        if small.get(key) is not None and small[key] >= tokens:
            small[key] = 0
    if family in ("bert", "roberta"):
        small.update(hidden_size=2 * config["num_attention_heads"], intermediate_size=8)
    elif family == "distilbert":
        small.update(dim=2 * config["n_heads"], hidden_dim=8)
    elif family == "gpt2":
        small.update(n_embd=2 * config["n_head"], n_inner=8)
    elif family == "llama":
        small.update(hidden_size=2 * config["num_attention_heads"], intermediate_size=8)
    elif family == "t5":
        small.update(d_model=2 * config["num_heads"], d_kv=2, d_ff=8)
    elif family == "bart":
        small.update(d_model=2 * config["encoder_attention_heads"], encoder_ffn_dim=8,
                     decoder_ffn_dim=8)
    return small


def bert_shapes(c):
    d, f = c["hidden_size"], c["intermediate_size"]
    yield "embeddings.word_embeddings.weight", [c["vocab_size"], d]
    yield "embeddings.position_embeddings.weight", [c["max_position_embeddings"], d]
    yield "embeddings.token_type_embeddings.weight", [c["type_vocab_size"], d]
    yield from norm("embeddings.LayerNorm", d)
    for i in range(c["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            yield from linear(layer + "attention." + name, d, d)
        yield from linear(layer + "intermediate.dense", f, d)
        yield from linear(layer + "output.dense", d, f)
        yield from norm(layer + "attention.output.LayerNorm", d)
        yield from norm(layer + "output.LayerNorm", d)
    yield from linear("pooler.dense", d, d)


def distilbert_shapes(c):
    d, f = c["dim"], c["hidden_dim"]
    yield "embeddings.word_embeddings.weight", [c["vocab_size"], d]
    yield "embeddings.position_embeddings.weight", [c["max_position_embeddings"], d]
    yield from norm("embeddings.LayerNorm", d)
    for i in range(c["n_layers"]):
        layer = f"transformer.layer.{i}."
        for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
            yield from linear(layer + "attention." + name, d, d)
        yield from norm(layer + "sa_layer_norm", d)
        yield from linear(layer + "ffn.lin1", f, d)
        yield from linear(layer + "ffn.lin2", d, f)
        yield from norm(layer + "output_layer_norm", d)


def gpt2_shapes(c):
    d, f = c["n_embd"], c.get("n_inner") or 4 * c["n_embd"]
    yield "wte.weight", [c["vocab_size"], d]
    yield "wpe.weight", [c["n_positions"], d]
    for i in range(c["n_layer"]):
        yield from norm(f"h.{i}.ln_1", d)
        yield from norm(f"h.{i}.ln_2", d)
        for name, rows, columns in (("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d),
                                    ("mlp.c_fc", d, f), ("mlp.c_proj", f, d)):
            yield f"h.{i}.{name}.weight", [rows, columns]
            yield f"h.{i}.{name}.bias", [columns]
    yield from norm("ln_f", d)


def llama_shapes(c):
    d, f = c["hidden_size"], c["intermediate_size"]
    keys = d // c["num_attention_heads"] * c["num_key_value_heads"]
    yield "embed_tokens.weight", [c["vocab_size"], d]
    for i in range(c["num_hidden_layers"]):
        layer = f"layers.{i}."
        yield layer + "input_layernorm.weight", [d]
        yield layer + "post_attention_layernorm.weight", [d]
        for name, rows, columns in (
                ("self_attn.q_proj", d, d), ("self_attn.k_proj", keys, d),
                ("self_attn.v_proj", keys, d), ("self_attn.o_proj", d, d),
                ("mlp.gate_proj", f, d), ("mlp.up_proj", f, d), ("mlp.down_proj", d, f)):
            yield f"{layer}{name}.weight", [rows, columns]
    yield "norm.weight", [d]


def t5_shapes(c):
    d, f, inner = c["d_model"], c["d_ff"], c["num_heads"] * c["d_kv"]
    buckets = [c["relative_attention_num_buckets"], c["num_heads"]]
    yield "shared.weight", [c["vocab_size"], d]
    for stack, layers in (("encoder", "num_layers"), ("decoder", "num_decoder_layers")):
        for i in range(c[layers]):
            units = ["SelfAttention"] + (["EncDecAttention"] if stack == "decoder" else [])
            for n, unit in enumerate(units):
                layer = f"{stack}.block.{i}.layer.{n}."
                for name in "qkv":
                    yield f"{layer}{unit}.{name}.weight", [inner, d]
                yield f"{layer}{unit}.o.weight", [d, inner]
                yield layer + "layer_norm.weight", [d]
            layer = f"{stack}.block.{i}.layer.{len(units)}."
            yield layer + "DenseReluDense.wi.weight", [f, d]
            yield layer + "DenseReluDense.wo.weight", [d, f]
            yield layer + "layer_norm.weight", [d]
        bias = "SelfAttention.relative_attention_bias.weight"
        yield f"{stack}.block.0.layer.0.{bias}", buckets
        yield f"{stack}.final_layer_norm.weight", [d]


def bart_shapes(c):
    d = c["d_model"]
    yield "shared.weight", [c["vocab_size"], d]
    for stack in ("encoder", "decoder"):
        f = c[f"{stack}_ffn_dim"]
        yield f"{stack}.embed_positions.weight", [c["max_position_embeddings"] + 2, d]
        yield from norm(f"{stack}.layernorm_embedding", d)
        for i in range(c[f"{stack}_layers"]):
            layer = f"{stack}.layers.{i}."
            for unit in ["self_attn"] + (["encoder_attn"] if stack == "decoder" else []):
                for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    yield from linear(f"{layer}{unit}.{name}", d, d)
                yield from norm(f"{layer}{unit}_layer_norm", d)
            yield from linear(layer + "fc1", f, d)
            yield from linear(layer + "fc2", d, f)
            yield from norm(layer + "final_layer_norm", d)


def linear(name, rows, columns):
    yield name + ".weight", [rows, columns]
    yield name + ".bias", [rows]


def norm(name, width):
    yield name + ".weight", [width]
    yield name + ".bias", [width]


def head_shapes(c):
    """The head of masked words, where config.json names a class that has one."""
    if not c["architectures"][0].endswith("ForMaskedLM"):
        return
    dense, after, bias = {
        "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
                 "cls.predictions.bias"),
        "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
        "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    }[c["model_type"]]
    d = c.get("hidden_size") or c["dim"]
    yield from linear(dense, d, d)
    yield from norm(after, d)
    yield bias, [c["vocab_size"]]


SHAPES = {"bert": bert_shapes, "roberta": bert_shapes, "distilbert": distilbert_shapes,
          "gpt2": gpt2_shapes, "llama": llama_shapes, "t5": t5_shapes, "bart": bart_shapes}


def write_weights(config, file):
    draw = random.Random(7)
    header, numbers, end = {}, [], 0
    for name, shape in [*SHAPES[config["model_type"]](config), *head_shapes(config)]:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        norms = len(shape) == 1 and name.endswith(".weight")
        numbers.extend(1.0 if norms else draw.gauss(0, 0.05) for _ in range(count))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 4 * count]}
        end += 4 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = struct.pack(f"<{len(numbers)}f", *numbers)
    file.write_bytes(struct.pack("<Q", len(text)) + text + values)


def models_of(node):
    """The folders of models that a recipe names."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return {name for child in node for name in models_of(child)}
    return {node} if isinstance(node, str) and node.startswith("models/") else set()


def make_models(recipe, folder, real):
    """Each model of a recipe: narrow, with weights; `real`: configuration and tokenizer alone."""
    for name in sorted(models_of(recipe.get("stages", []))):
        config = json.loads((STANDINS / name / "config.json").read_text())
        place = folder / name
        place.mkdir(parents=True)
        tokens = write_tokenizer(place, config["model_type"])
        if not real:
            config = narrow(config, tokens)
            write_weights(config, place / "model.safetensors")
        (place / "config.json").write_text(json.dumps(config))
