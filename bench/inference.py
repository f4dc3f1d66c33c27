#!/usr/bin/env python3
"""Inference of a six-layer model, its three-layer student, and that in int8, dense and sparse.

    .venv/bin/python bench/inference.py [--rounds 3] [--rows 256] [--no-compile] [--models DIR]

Peers: transformers (eager and torch.compile, float32 and bf16 autocast), onnxruntime (float32,
and int8, dynamic, see graphs.py, and static), OpenVINO (float32, and static int8 by NNCF) and
CTranslate2 (int8; `.venv/bin/pip install -r requirements-bench.txt` for the last two, which are
"not measured" without it). Static ranges are those of 64 of the sentences. Beside them onnxruntime
runs what `export: {formats: [onnx]}` writes of the same models ("our graph"). Rows in bf16 are
left out on processors that do not multiply it. Batch 1 is reported as milliseconds a sentence,
batch 32 as sentences per second; both sides get the same movie sentences, tokenised before, and
the peers' batches of 32 are sorted by length. Batch 1 is the median of single calls, batch 32 all
sentences by the sum of their calls; in both only the forward pass is timed, from a batch that
lies ready to its logits, after a few calls that are not. Ours is what `compress evaluate --json`
says of its forward passes. The models come from bench/inference.yaml, made in a temporary folder
or in --models. The ratios at the end are those of medians over the rounds, with the goals for the
instructions that the processor has: int8 1.3 times the fastest peer's int8, and the int8 student of
which 80% are zeros in blocks of four inputs ("sparse", ours alone), at batch 1, 10 (AVX2) or 18
times (AVX-512 VNNI) transformers' float32 teacher. COMPRESS_CPU=avx2 holds us and PyTorch, not the
other peers.
"""

import json
import os
import pathlib
import statistics
import tempfile
import time

import peers

NAMES = ("teacher", "student", "int8", "sparse")


class Peer:
    """Times forward(inputs), made by `make` at the first measurement, on padded batches."""

    def __init__(self, make, given, batches, size):
        self.make, self.given, self.batches, self.size = make, given, batches, size
        self.forward = None

    def measure(self, _):
        if self.forward is None:
            self.forward = self.make(*self.given)
        for inputs in self.batches[:: max(1, len(self.batches) // 4)]:
            self.forward(inputs)
        seconds = []
        for inputs in self.batches:
            begin = time.perf_counter()
            self.forward(inputs)
            seconds.append(time.perf_counter() - begin)
        if self.size == 1:
            return 1000 * statistics.median(seconds)
        return sum(len(b["input_ids"]) for b in self.batches) / sum(seconds)


class Ours:
    def __init__(self, folder, size, count, precision):
        self.size = size
        self.words = ["evaluate", folder, "--data", peers.MOVIES, "--text", "sentence", "--limit",
                      count, "--batch", size, "--precision", precision, "--warm-up", 4, "--json"]

    def measure(self, _):
        out, _, _ = peers.compress(*self.words)
        found = json.loads(out)["forward"]
        return found["median_ms" if self.size == 1 else "samples_per_second"]


def make(folder):
    """Folders of the four models, made where they are not there yet."""
    recipe = peers.ROOT / "bench/inference.yaml"
    peers.compress("run", recipe, "--out", folder, "--quiet")
    found = {}
    for name in NAMES:
        configs = sorted(pathlib.Path(folder, "stages", f"release-{name}").rglob("config.json"))
        if not configs:
            peers.fail(f"bench/inference.yaml left no export of {name} in {folder}")
        found[name] = configs[0].parent
    return found


def batches(tokenizer, count, size):
    found = tokenizer([text for text, _ in peers.rows()[:count]], truncation=True, max_length=128)
    order = sorted(range(count), key=lambda i: len(found["input_ids"][i]))
    for start in range(0, count, size):
        some = order[start : start + size]
        chosen = [{"input_ids": found["input_ids"][i]} for i in some]
        padded = tokenizer.pad(chosen, return_tensors="pt")
        yield {name: padded[name] for name in ("input_ids", "attention_mask")}


def times_faster(one, other, size):
    value = statistics.median(one) / statistics.median(other)
    return 1 / value if size == 1 else value


def goals(results):
    """How many times faster our float32 and int8 are than what they are measured against."""
    for (name, size), found in results.items():
        pairs = [("compress float32", "transformers float32"),
                 ("compress float32", "onnxruntime float32"),
                 ("compress float32", "OpenVINO float32")]
        if name == "int8":
            student = results["student", size]
            found = found | {"student float32": student["compress float32"],
                             "student graph": student["our graph, float32"]}
            pairs = [("compress float32", "student float32"),
                     ("compress float32", "onnxruntime int8 (dynamic)"),
                     ("our graph, int8", "student graph")]
        for ours, other in pairs:
            if ours in found and other in found:
                value = times_faster(found[ours], found[other], size)
                print(f"{name}, batch {size}: {ours} to {other}: {value:.2f}")


INT8_PEERS = ("onnxruntime int8 (dynamic)", "onnxruntime int8 (static)",
              "OpenVINO int8 (NNCF, static)", "CTranslate2 int8")
COMMAND = ".venv/bin/pip install -r requirements-bench.txt && .venv/bin/python bench/inference.py"


def instructions():
    """What int8 products can use here: AVX-512 VNNI or AVX2."""
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    limit = os.environ.get("COMPRESS_CPU", "avx512")
    return "AVX-512 VNNI" if limit == "avx512" and "avx512_vnni" in flags else "AVX2"


def judge(results):
    """Goals as ratios, each with what it was measured on; what was not is told with its command."""
    here = instructions()
    held = os.environ.get("COMPRESS_CPU", "") in ("avx2", "plain")
    if held and "avx512f" in pathlib.Path("/proc/cpuinfo").read_text():
        print("not measured: int8 to the peers' int8 on AVX2: onnxruntime, OpenVINO, CTranslate2 "
              "take AVX-512 where it is, whatever COMPRESS_CPU says (on a processor without it)")
        sizes = ()
    else:
        sizes = (1, 32)
    for size in sizes:
        found = results["int8", size]
        for name in INT8_PEERS:
            if name not in found:
                print(f"not measured: {name}, batch {size} ({COMMAND})")
        peers_here = [name for name in INT8_PEERS if name in found]
        if not peers_here:
            continue
        fastest = peers.best({name: found[name] for name in peers_here}, "", lower=size == 1)
        ratio = times_faster(found["compress float32"], found[fastest], size)
        told = "held" if ratio >= 1.3 else "MISSED"
        print(f"goal: int8, batch {size}, {here}, ours to the fastest peer's int8 ({fastest}): "
              f"{ratio:.2f}, at least 1.3: {told}")
    teacher = results["teacher", 1]["transformers float32"]
    ratio = times_faster(results["int8", 1]["compress float32"], teacher, 1)
    print(f"int8 student to transformers' float32 teacher, batch 1, {here}: {ratio:.1f}")
    ratio = times_faster(results["sparse", 1]["compress float32"], teacher, 1)
    least = 18 if here == "AVX-512 VNNI" else 10
    print(f"goal: int8 student, 80% zeros, to transformers' float32 teacher, batch 1, {here}: "
          f"{ratio:.1f}, at least {least}: {'held' if ratio >= least else 'MISSED'}")
    other = "AVX-512 VNNI" if here == "AVX2" else "AVX2"
    how = "on a processor that has it" if other != "AVX2" else "COMPRESS_CPU=avx2, ours alone"
    print(f"not measured: {other} ({how}: .venv/bin/python bench/inference.py)")


def main():
    more = peers.NO_COMPILE | {
        "--rows": {"type": int, "default": 256, "help": "sentences a round"},
        "--models": {"help": "folder that keeps the four models"},
    }
    options = peers.arguments(__doc__, steps=None, batch=None, more=more)
    import graphs
    import torch
    import training
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(peers.MODEL)
    threads = torch.get_num_threads()
    precisions = peers.precisions()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        models = make(options.models or pathlib.Path(folder, "models"))
        for size, digits in ((1, 2), (32, 0)):
            tensors = list(batches(tokenizer, options.rows, size))
            arrays = [{name: x.numpy() for name, x in inputs.items()} for inputs in tensors]
            for name in ("teacher", "student", "int8"):
                entries = {}
                source = models["student" if name == "int8" else name]
                if name != "int8":
                    model = training.classifier(folder=source).eval()
                    forms = {"": model}
                    if not options.no_compile:
                        forms[" torch.compile"] = torch.compile(model, dynamic=True)
                    for form, run in forms.items():
                        for precision in precisions:
                            label = f"transformers{form} {precision}"
                            bf16 = precision == "bf16"
                            entries[label] = Peer(graphs.torch_forward, (run, bf16), tensors, size)
                    given = (source, pathlib.Path(folder, f"{name}-openvino.onnx"), threads)
                    entries["OpenVINO float32"] = Peer(
                        graphs.openvino_forward, given, arrays, size)
                kind = "int8 (dynamic)" if name == "int8" else "float32"
                if name == "int8":
                    some = list(batches(tokenizer, min(64, options.rows), 1))
                    some = [{key: x.numpy() for key, x in inputs.items()} for inputs in some]
                    for label, make_it, file, last in (
                        (INT8_PEERS[1], graphs.static_forward, "static.onnx", some),
                        (INT8_PEERS[2], graphs.openvino_forward, "nncf.onnx", some),
                        (INT8_PEERS[3], graphs.ctranslate2_forward, "ctranslate2", True),
                    ):
                        given = (source, pathlib.Path(folder, file), threads, last)
                        entries[label] = Peer(make_it, given, arrays, size)
                given = (source, pathlib.Path(folder, f"{name}.onnx"), name == "int8", threads)
                entries[f"onnxruntime {kind}"] = Peer(graphs.onnx_forward, given, arrays, size)
                given = (models[name].parent / "onnx/model.onnx", threads)
                own = "int8" if name == "int8" else "float32"
                entries[f"our graph, {own}"] = Peer(graphs.run_graph, given, arrays, size)
                for precision in precisions:
                    ours = Ours(models[name], size, options.rows, precision)
                    entries[f"compress {precision}"] = ours
                found = results[name, size] = peers.alternate(entries, None, options.rounds)
                unit = "ms a sentence" if size == 1 else "samples/s"
                peers.table(f"{name}, batch {size}, {threads} threads, {unit}", found, digits)
                others = ("transformers", "onnxruntime", "OpenVINO", "CTranslate2")
                peers.ratio(found, peer=others, lower=size == 1)
            alone = {"compress float32": Ours(models["sparse"], size, options.rows, "float32")}
            found = results["sparse", size] = peers.alternate(alone, None, options.rounds)
            peers.table(f"sparse, batch {size}, {threads} threads, {unit}", found, digits)
    goals(results)
    judge(results)


if __name__ == "__main__":
    main()
