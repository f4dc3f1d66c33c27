"""Graphs that compress writes pass the checker of onnx and compute our outputs elsewhere.

Small random models that transformers makes are written by us as ONNX, in float32 and int8, and run
by onnxruntime and OpenVINO on padded batches of several shapes. Run from the repository root:
.venv/bin/python tests/interop/test_onnx.py. The helper is tests/interop/export_model.cpp; its path
may be given in COMPRESS_EXPORT_MODEL.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy
import onnx
import onnxruntime
import openvino
import torch
import transformers
import transformers.utils.logging
from safetensors.torch import save_file

from tests.interop import family_cases

transformers.utils.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELPER = os.environ.get("COMPRESS_EXPORT_MODEL", str(ROOT / "build/release/bin/export_model"))
FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "electra")
HEADS = ("none", "classification", "regression", "token_classification", "span", "masked_lm",
         "replaced_token")
OUTPUTS = {"none": ["last_hidden_state"], "span": ["start_logits", "end_logits"]}
FLOAT32 = 1e-4  # the order of sums differs, and fused operators round elsewhere
# int8: what rounds to an integer falls to the other side of a border now and then, where the last
# bits of the float32 numbers before it differ (test_export.py); with a scale of its own each row's
# largest magnitude lies at such a border. At least half of the rows, most of which are short, are
# equal but for last bits, and none is further off than a few steps make.
INT8_EQUAL = 1e-5  # of the largest output
INT8_LARGEST = 0.05
# Batches of several shapes, most of them with rows of uneven length.
LENGTHS = ([7, 2, 12, 5], [3], [2, 3, 2, 4, 2, 3])


def helper(*words):
    done = subprocess.run([HELPER, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise AssertionError(f"export_model {words} failed: {done.stderr}")
    return json.loads(done.stdout)


def padded(rows):
    """int64 arrays that are padded on the right with token 1."""
    longest = max(map(len, rows))
    ids = numpy.ones((len(rows), longest), numpy.int64)
    mask = numpy.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}


class Graph:
    """A folder's graph in onnxruntime or OpenVINO."""

    def __init__(self, folder):
        self.path = str(folder / "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, options, ["CPUExecutionProvider"])
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]

    def run(self, rows):
        given = padded(rows)
        found = self.session.run(None, {name: given[name] for name in self.inputs})
        return dict(zip(self.outputs, found, strict=True))

    def open_vino(self, rows):
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        model = openvino.Core().compile_model(self.path, "CPU", settings)
        given = padded(rows)
        found = model({name: given[name] for name in self.inputs})
        return {name: found[name] for name in self.outputs}


class Onnx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_grad_enabled(False)
        torch.set_num_threads(1)
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.root = pathlib.Path(keep.name)
        cls.batches = [
            [[3 + (7 * i + 11 * j) % 60 for j in range(length)] for i, length in enumerate(lengths)]
            for lengths in LENGTHS
        ]
        cls.rows = [row for batch in cls.batches for row in batch]
        cls.file = cls.root / "rows"
        cls.file.write_text("".join("# " + " ".join(map(str, row)) + "\n" for row in cls.rows))

    def save(self, name, model):
        folder = self.root / name
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")  # copied only
        return folder

    def export(self, folders, ending="graph", file_format="onnx", *options):
        pairs = [(folder, folder.with_name(f"{folder.name}_{ending}")) for folder in folders]
        helper("each", file_format, *(path for pair in pairs for path in pair), "head=keep",
               *options)
        return [out for _, out in pairs]

    def check(self, folder):
        """The checker with strict shape inference, and the shapes that callers are told."""
        onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
        model = onnx.load(folder / "model.onnx")
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
        self.assertEqual([each.version for each in model.opset_import], [17])
        for value in (*model.graph.input, *model.graph.output):
            sizes = [size.dim_param or size.dim_value
                     for size in value.type.tensor_type.shape.dim]
            self.assertEqual(sizes[0], "batch")
            self.assertTrue(all(sizes), f"{value.name} {sizes}")
        for file in ("config.json", "vocab.txt"):
            self.assertTrue((folder / file).exists(), file)
        return model

    def each_row(self, run):
        """The outputs of every row, of the batches one after the other; without padding."""
        for batch in self.batches:
            found = run(batch)
            for row, tokens in enumerate(batch):
                yield {name: value[row][: len(tokens)]
                       if value.ndim > 1 and name not in ROW_OUTPUTS and
                       value.shape[1] == max(map(len, batch)) else value[row]
                       for name, value in found.items()}

    def difference(self, found, ours):
        """The largest of a row, and the largest number of ours."""
        if "start_logits" in found:
            found = numpy.stack([found["start_logits"], found["end_logits"]], 1)
            ours = ours["token_logits"]
        elif "logits" in found:
            found = found["logits"]
            ours = ours.get("logits", ours.get("token_logits"))
        elif "sentence_embedding" in found:
            found, ours = found["sentence_embedding"], ours["pooled"]
        else:
            if "pooler_output" in found:
                pooled = numpy.asarray(ours["pooled"])
                self.assertLessEqual(abs(found["pooler_output"] - pooled).max(), FLOAT32)
            found, ours = found["last_hidden_state"], ours["hidden"]
        ours = numpy.asarray(ours).reshape(found.shape)
        return abs(found - ours).max(), abs(ours).max()

    def compare(self, graph, ours, what, runs=("run",)):
        for way in runs:
            found = [self.difference(row, expected)[0] for row, expected in
                     zip(self.each_row(getattr(graph, way)), ours, strict=True)]
            self.assertLessEqual(max(found), FLOAT32, f"{what} in {way}")

    def test_float32_of_every_family_and_head(self):
        names, folders = [], []
        for case in family_cases.cases(FAMILIES):
            if case.head in HEADS:
                names.append((case, case.name))
                folders.append(self.save(case.name, family_cases.make(case, 7)))
        case = next(case for case, _ in names if case.head == "classification")
        model = family_cases.make(case, 8)
        model.config.problem_type = "multi_label_classification"
        names.append((case, "multi-label"))
        folders.append(self.save("multi-label", model))
        self.assertGreater(len(names), 40)
        graphs = self.export(folders)
        ours = helper("outputs", self.file, *folders)
        for (case, name), folder, expected in zip(names, graphs, ours, strict=True):
            with self.subTest(name):
                self.check(folder)
                graph = Graph(folder)
                outputs = OUTPUTS.get(case.head, ["logits"])
                self.assertEqual(graph.outputs[: len(outputs)], outputs)
                segments = case.options.get("type_vocab_size", 1) > 1
                self.assertEqual("token_type_ids" in graph.inputs, segments)
                plain = case.variant in ("plain", "narrow") and case.family != "xlm-roberta"
                self.compare(graph, expected, name, ("run", "open_vino") if plain else ("run",))

    def test_embeddings_are_pooled_inside(self):
        case = next(case for case in family_cases.cases(["bert"]) if case.head == "none")
        folders = []
        for mode in ("mean", "cls", "max", "weightedmean", "lasttoken", "mean_sqrt_len_tokens"):
            folder = self.save(f"sentence_{mode}", family_cases.make(case, 9))
            names = ("Transformer", "Pooling", *(["Dense"] if mode == "mean" else []), "Normalize")
            modules = [
                {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"x.{name}"}
                for i, name in enumerate(names)]
            (folder / "modules.json").write_text(json.dumps(modules))
            config = json.loads((folder / "config.json").read_text())
            config["compress"] = {"head": "embedding", "pooling": mode}
            (folder / "config.json").write_text(json.dumps(config))
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling/config.json").write_text(
                json.dumps({"word_embedding_dimension": 24, "pooling_mode": mode}))
            if mode == "mean":
                dense = {"in_features": 24, "out_features": 7, "bias": True,
                         "activation_function": "torch.nn.modules.linear.Identity"}
                (folder / "2_Dense").mkdir()
                (folder / "2_Dense/config.json").write_text(json.dumps(dense))
                weights = {"linear.weight": torch.randn(7, 24), "linear.bias": torch.randn(7)}
                save_file(weights, folder / "2_Dense/model.safetensors")
            folders.append(folder)
        graphs = self.export(folders)
        for folder, graph, ours in zip(folders, graphs, helper("outputs", self.file, *folders),
                                       strict=True):
            with self.subTest(folder.name):
                self.check(graph)
                opened = Graph(graph)
                self.assertEqual(opened.outputs, ["last_hidden_state", "sentence_embedding"])
                self.compare(opened, ours, folder.name, ("run", "open_vino"))
                lengths = numpy.linalg.norm(opened.run(self.rows)["sentence_embedding"], axis=1)
                self.assertLess(abs(lengths - 1).max(), 1e-5)
                self.assertTrue((graph / "modules.json").exists())

    def test_base_models_that_pool_say_their_embedding(self):
        case = next(case for case in family_cases.cases(["bert"]) if case.head == "none")
        folder = self.save("sentence_base", family_cases.make(case, 9))
        names = ("Transformer", "Pooling", "Normalize")
        (folder / "modules.json").write_text(json.dumps([
            {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"x.{name}"}
            for i, name in enumerate(names)]))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling/config.json").write_text(
            json.dumps({"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True}))
        graph, = self.export([folder])
        self.check(graph)
        ours, = helper("outputs", self.file, folder)
        opened = Graph(graph)
        self.assertIn("sentence_embedding", opened.outputs)
        for way in ("run", "open_vino"):
            for row, expected in zip(self.each_row(getattr(opened, way)), ours, strict=True):
                mean = numpy.reshape(expected["hidden"], (-1, 24)).mean(0)
                apart = abs(row["sentence_embedding"] - mean / numpy.linalg.norm(mean)).max()
                self.assertLessEqual(apart, FLOAT32, way)

    def test_embeddings_are_gathered_in_their_bits(self):
        for table in ("int8", "int4"):
            options = (f"embeddings={table}", "group=8", "rest=bf16")
            names, folders = [], []
            for case in family_cases.cases(("bert", "roberta", "distilbert")):
                if case.variant == "plain" and case.head in ("classification", "masked_lm"):
                    names.append(f"{case.name} {table}")
                    folders.append(self.save(f"{case.name}_{table}", family_cases.make(case, 12)))
            graphs = self.export(folders, "graph", "onnx", *options)
            read = self.export(folders, "read", "compressed-tensors", *options)
            for name, folder, ours in zip(names, graphs, helper("outputs", self.file, *read),
                                          strict=True):
                with self.subTest(name):
                    model = self.check(folder)
                    kind = onnx.TensorProto.INT8 if table == "int8" else onnx.TensorProto.UINT8
                    words = next(each for each in model.graph.initializer
                                 if each.name.endswith("word_embeddings.weight"))
                    self.assertEqual(words.data_type, kind)
                    self.assertEqual(len(words.raw_data), words.dims[0] * words.dims[1])
                    self.assertEqual(words.dims[1], 24 if table == "int8" else 12)
                    self.compare(Graph(folder), ours, name, ("run", "open_vino"))

    def int8(self, how, granularity="channel"):
        """Graphs of each family, and what our reader of the same int8 models says."""
        options = (f"int8={how}", f"granularity={granularity}")
        names, folders = [], []
        for case in family_cases.cases(FAMILIES):
            if case.variant in ("plain", "narrow") and case.head in ("classification", "masked_lm"):
                names.append(case.name)
                folders.append(self.save(f"{case.name}_{how}_{granularity}",
                                         family_cases.make(case, 11)))
        graphs = self.export(folders, "graph", "onnx", *options)
        read = self.export(folders, "read", "compressed-tensors", *options)
        return zip(names, graphs, helper("outputs", self.file, *read), strict=True)

    def compare_int8(self, graph, ours, name, way):
        pairs = [self.difference(row, expected) for row, expected in
                 zip(self.each_row(getattr(graph, way)), ours, strict=True)]
        scale = max(largest for _, largest in pairs)
        found = [difference for difference, _ in pairs]
        equal = sum(difference <= INT8_EQUAL * scale for difference in found)
        print(f"{name} in {way}: largest difference {max(found) / scale:.1e} of the largest "
              f"output, {equal} of {len(found)} rows equal")
        self.assertGreaterEqual(equal, len(found) / 2, f"{name} in {way}")
        self.assertLessEqual(max(found), INT8_LARGEST * scale, f"{name} in {way}")

    def check_int8(self, how, granularity, ways):
        for name, folder, ours in self.int8(how, granularity):
            with self.subTest(name):
                model = self.check(folder)
                integers = [each for each in model.graph.initializer
                            if each.data_type == onnx.TensorProto.INT8 and each.dims]
                self.assertEqual(len(integers), 18)
                kinds = [node.op_type for node in model.graph.node]
                self.assertEqual(kinds.count("MatMulInteger"), 18 if how == "dynamic" else 0)
                self.assertEqual(kinds.count("QuantizeLinear"), 12 if how == "static" else 0)
                for way in ways:
                    self.compare_int8(Graph(folder), ours, name, way)

    def test_dynamic_int8_is_our_arithmetic(self):
        self.check_int8("dynamic", "channel", ["run"])

    def test_static_int8_is_pairs_of_quantise_and_dequantise(self):
        self.check_int8("static", "tensor", ["run"])
        self.check_int8("static", "channel", ["run"])


ROW_OUTPUTS = ("sentence_embedding", "pooler_output")

if __name__ == "__main__":
    unittest.main()
