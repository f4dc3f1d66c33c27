#!/usr/bin/env python3
"""The distillation step over pairs of well-known shapes, this program alone, on CPU or card.

    .venv/bin/python bench/shapes.py [--device cuda] [--steps 30] [--rounds 3] [--batch 32]
        [--pairs minilm,tinybert,minilm12,bert-base] [--precision bf16,fp16] [--peak TFLOPS]
        [--graphs]
    .venv/bin/python bench/shapes.py --inference 12x768,6x768,4x312 [--rounds 3] [--rows 256]

A pair is a teacher's and a student's shape (layers x width, heads, inner width): minilm 6x384 ->
3x384, tinybert 12x768 -> 4x312, minilm12 12x768 -> 12x384, bert-base 12x768 -> 6x768. Weights are
random, as speed does not depend on what was learnt; sentences, losses and optimiser are those of
bench/distillation.yaml, and the teacher runs in every step. Printed are samples/s (median,
minimum, maximum of the rounds), the floating-point operations per second of the linear layers and
of attention's products (forward, and both gradients of the student), what part of the card's peak
that is (--peak, or the dense bf16 peak of a card that the script knows), and the peak memory of
tensors on the card (of the process on the CPU). --graphs measures each entry with `graphs: true`,
too.

--inference times forward passes of single shapes instead, as bench/inference.py does: milliseconds
a sentence at batch 1 (median of single calls), sentences per second at batch 32, and how many times
as fast as the first shape each is (TinyBERT's six and four layers beside BERT-base's).
"""

import json
import pathlib
import statistics
import subprocess
import tempfile

import peers

# layers, width, heads, inner width
SHAPES = {
    "6x384": (6, 384, 12, 1536),
    "3x384": (3, 384, 12, 1536),
    "4x312": (4, 312, 12, 1200),
    "12x384": (12, 384, 12, 1536),
    "12x768": (12, 768, 12, 3072),
    "6x768": (6, 768, 12, 3072),
}
PAIRS = {
    "minilm": ("6x384", "3x384"),
    "tinybert": ("12x768", "4x312"),
    "minilm12": ("12x768", "12x384"),
    "bert-base": ("12x768", "6x768"),
}
# Dense bf16 and fp16 products, TFLOP/s, from the vendor's data sheets.
PEAKS = {"H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121,
         "A10": 125}


def write_model(folder, shape):
    """A model folder of a shape with random weights, made once."""
    import transformers

    target = pathlib.Path(folder) / shape
    if target.exists():
        return target
    transformers.logging.disable_progress_bar()
    layers, width, heads, inner = SHAPES[shape]
    config = transformers.BertConfig.from_pretrained(peers.MODEL)
    config.num_hidden_layers, config.hidden_size = layers, width
    config.num_attention_heads, config.intermediate_size = heads, inner
    transformers.BertModel(config).save_pretrained(target)
    peers.copy_tokenizer(target)
    return target


def write_classifier(folder, shape):
    """The same with a head for the sentences' two labels."""
    import transformers

    target = pathlib.Path(folder) / f"{shape}-classifier"
    config = transformers.BertConfig.from_pretrained(write_model(folder, shape))
    config.id2label = {0: "negative", 1: "positive"}
    config.label2id = {"negative": 0, "positive": 1}
    transformers.BertForSequenceClassification(config).save_pretrained(target)
    peers.copy_tokenizer(target)
    return target


def passes(folder, size, options):
    """What `compress evaluate` says of its forward passes."""
    out, _, _ = peers.compress(
        "evaluate", folder, "--data", peers.MOVIES, "--text", "sentence", "--limit", options.rows,
        "--batch", size, "--precision", options.precision.split(",")[0], "--device", options.device,
        "--warm-up", 4, "--json")
    return json.loads(out)["forward"]


def inference(options):
    shapes = options.inference.split(",")
    if unknown := [shape for shape in shapes if shape not in SHAPES]:
        peers.fail(f"no shape {unknown[0]}: {', '.join(SHAPES)}")
    print(f"{'shape':10} ms a sentence  sentences/s      min      max   times as fast "
          f"(batch 1, batch 32; {options.precision.split(',')[0]}, {options.device})")
    with tempfile.TemporaryDirectory() as folder:
        models = {shape: write_classifier(folder, shape) for shape in shapes}
        single = {shape: [] for shape in shapes}
        speeds = {shape: [] for shape in shapes}
        for _ in range(options.rounds):  # in turn, so that all have the same weather
            for shape, model in models.items():
                single[shape].append(passes(model, 1, options)["median_ms"])
                speeds[shape].append(passes(model, 32, options)["samples_per_second"])
        first = shapes[0]
        for shape in shapes:
            wait, speed = statistics.median(single[shape]), statistics.median(speeds[shape])
            print(f"{shape:10} {wait:13.2f} {speed:12.1f} {min(speeds[shape]):8.1f} "
                  f"{max(speeds[shape]):8.1f} {statistics.median(single[first]) / wait:9.2f} "
                  f"{speed / statistics.median(speeds[first]):6.2f}", flush=True)


def operations(shape, tokens):
    """Of a forward pass over one row: linear layers, scores and their product with the values."""
    layers, width, _, inner = SHAPES[shape]
    linear = 2 * (4 * width * width + 2 * width * inner)
    return layers * tokens * (linear + 4 * width * tokens)


def known_peak():
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        name = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return next((peak for card, peak in PEAKS.items() if card in name), None)


def entries(options):
    for name in options.pairs.split(","):
        if name not in PAIRS:
            peers.fail(f"--pairs takes some of {', '.join(PAIRS)}")
        for precision in options.precision.split(","):
            for graphs in (False, True) if options.graphs else (False,):
                yield name, precision, graphs


def main():
    options = peers.arguments(
        __doc__,
        more={
            "--device": {"default": "cpu", "help": "cpu, cuda or cuda:<n>"},
            "--pairs": {"default": ",".join(PAIRS), "help": "pairs, separated by commas"},
            "--precision": {"default": "bf16", "help": "precisions, separated by commas"},
            "--peak": {"type": float, "help": "TFLOP/s of the device"},
            "--graphs": {"action": "store_true", "help": "also with CUDA graphs"},
            "--inference": {"help": "shapes whose forward passes are timed instead"},
            "--rows": {"type": int, "default": 256, "help": "sentences of --inference"},
        },
    )
    if options.inference:
        return inference(options)
    peak = options.peak or (known_peak() if options.device.startswith("cuda") else None)
    print(f"{'pair':28} samples/s       min       max   TFLOP/s  of peak   peak MB  "
          f"(batch {options.batch}, {options.device})")
    train = "stages.student.train"
    with tempfile.TemporaryDirectory() as folder:
        for name, precision, graphs in entries(options):
            teacher, student = PAIRS[name]
            settings = {
                f"{train}.model": f"{{from: {write_model(folder, student)}, head: classification}}",
                f"{train}.teacher.from": write_model(folder, teacher),
                f"{train}.batch": options.batch,
                f"{train}.precision": precision,
                f"{train}.device": options.device,
                f"{train}.graphs": str(graphs).lower(),
            }
            found = [
                peers.bench("distillation.yaml", "student", options.steps, settings)
                for _ in range(options.rounds)
            ]
            speeds = [one["samples_per_second"] for one in found]
            speed, tokens = statistics.median(speeds), found[0]["mean_tokens"]
            work = operations(teacher, tokens) + 3 * operations(student, tokens)
            rate = speed * work / 1e12
            used = f"{100 * rate / peak:7.1f}%" if peak else "      --"
            memory = max(one.get("device_peak_mb", one["peak_mb"]) for one in found)
            entry = f"{name} {precision}{' graphs' if graphs else ''}"
            print(f"{entry:28} {speed:9.1f} {min(speeds):9.1f} {max(speeds):9.1f} {rate:9.3f} "
                  f"{used} {memory:9.0f}", flush=True)


if __name__ == "__main__":
    main()
