"""Writes a transformers classifier as ONNX, in float32 or with int8 linear layers.

Neither the newer exporter of torch nor onnxruntime.quantization is used, so that nothing beyond
onnxruntime is needed. The older exporter needs onnx for functions that these graphs do not
hold; that step is skipped. The int8 graph has the nodes that quantize_dynamic of
onnxruntime.quantization writes for a linear layer: DynamicQuantizeLinear (uint8, a whole tensor),
MatMulInteger (int8 weights, one scale an output), Cast, Mul, Add.
"""

import contextlib
import io
import unittest.mock
import warnings

import numpy
import onnxruntime
import torch
import training
import transformers


class Int8MatMul(torch.autograd.Function):
    @staticmethod
    def forward(context, x, codes, scale):
        return x @ (codes.float() * scale)

    @staticmethod
    def symbolic(graph, x, codes, scale):
        x8, x_scale, x_zero = graph.op("DynamicQuantizeLinear", x, outputs=3)
        zero = graph.op("Constant", value_t=torch.tensor(0, dtype=torch.int8))
        total = graph.op("MatMulInteger", x8, codes, x_zero, zero)
        return graph.op(
            "Mul", graph.op("Cast", total, to_i=1), graph.op("Mul", x_scale, scale)
        ).setType(x.type())


class Int8Linear(torch.nn.Module):
    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.detach().abs().amax(1) / 127
        codes = (linear.weight.detach() / scale[:, None]).round().to(torch.int8)
        self.register_buffer("codes", codes.t().contiguous())
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return Int8MatMul.apply(x, self.codes, self.scale) + self.bias


def quantise(module):
    for name, child in module.named_children():
        if isinstance(child, torch.nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            quantise(child)


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def export(model, path):
    """The model's attention must be 'eager': the graph is traced."""
    from torch.onnx._internal.torchscript_exporter import onnx_proto_utils

    sample = torch.ones(2, 9, dtype=torch.long)
    names = ["input_ids", "attention_mask"]
    keep = unittest.mock.patch.object(
        onnx_proto_utils, "_add_onnxscript_fn", lambda graph, _: graph
    )
    with warnings.catch_warnings(), keep, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits(model).eval(), (sample, sample), str(path), dynamo=False, opset_version=17,
            input_names=names, output_names=["logits"],
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in names},
        )


def torch_forward(model, bf16):
    def forward(inputs):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model(**inputs).logits

    return forward


def openvino_forward(folder, path, threads, samples=None):
    """OpenVINO on the same float32 graph, in float32 (its default on some processors is bf16); with
    samples NNCF makes it static int8 by what these show."""
    import openvino

    load = transformers.AutoModelForSequenceClassification.from_pretrained
    export(load(folder, attn_implementation="eager").eval(), path)
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    core = openvino.Core()
    graph = core.read_model(str(path))
    if samples is not None:
        graph = by_nncf(graph, samples)
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    if samples is not None:
        check_logits(lambda inputs: request.infer(inputs)[0], folder, int8=True)

    def forward(inputs):
        return request.infer(inputs)[0]

    return forward


def by_nncf(graph, samples):
    import logging

    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(graph, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER,
                         subset_size=len(samples))


def static_forward(folder, path, threads, samples):
    """onnxruntime's own static quantisation as pairs of quantise and dequantise: bytes by int8, a
    scale an output row, ranges of the samples."""
    from onnxruntime import quantization

    load = transformers.AutoModelForSequenceClassification.from_pretrained
    plain = path.with_suffix(".float32.onnx")
    export(load(folder, attn_implementation="eager").eval(), plain)

    class Reader(quantization.CalibrationDataReader):
        left = iter(samples)

        def get_next(self):
            return next(self.left, None)

    quantization.quantize_static(
        plain, path, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"])
    session = session_of(path, threads)
    check_graph(session, folder, int8=True)
    return lambda inputs: session.run(None, inputs)


def ctranslate2_forward(folder, path, threads, int8):
    """CTranslate2 has BERT's encoder and pooler; the classifier behind them is numpy's."""
    import ctranslate2

    converter = ctranslate2.converters.TransformersConverter(str(folder))
    converter.convert(str(path), quantization="int8" if int8 else None, force=True)
    encoder = ctranslate2.Encoder(str(path), "cpu", intra_threads=threads)
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    classifier = load(folder).classifier
    weight, bias = (each.detach().numpy() for each in (classifier.weight.t(), classifier.bias))

    def forward(inputs):
        ids, lengths = inputs["input_ids"], inputs["attention_mask"].sum(1)
        view = ctranslate2.StorageView.from_array
        out = encoder.forward_batch(view(numpy.ascontiguousarray(ids, numpy.int32)),
                                    view(numpy.ascontiguousarray(lengths, numpy.int32)))
        return numpy.asarray(out.pooler_output) @ weight + bias

    check_logits(forward, folder, int8)
    return forward


def session_of(path, threads):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])


def run_graph(path, threads):
    """A graph that was exported, with the inputs that it has."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def forward(inputs):
        given = {"token_type_ids": inputs["input_ids"] * 0} | inputs
        return session.run(None, {name: given[name] for name in names})

    return forward


def onnx_forward(folder, path, int8, threads):
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    model = load(folder, attn_implementation="eager").eval()
    if int8:
        quantise(model.bert.encoder)
    export(model, path)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    check_graph(session, folder, int8)
    return lambda inputs: session.run(None, inputs)


def check_graph(session, folder, int8):
    check_logits(lambda inputs: session.run(None, inputs)[0], folder, int8)


def check_logits(forward, folder, int8):
    """A peer must give the model's logits, or in int8 nearly so, with padding too."""
    ids = torch.randint(1000, 20000, (3, 21), generator=torch.Generator().manual_seed(13))
    mask = (torch.arange(21) < torch.tensor([[21], [12], [5]])).long()
    model = training.classifier(folder=folder).eval()
    expected = torch_forward(model, False)({"input_ids": ids, "attention_mask": mask})
    found = numpy.array(forward({"input_ids": ids.numpy(), "attention_mask": mask.numpy()}))
    apart = float((torch.from_numpy(found) - expected).abs().max())
    if apart > (0.2 if int8 else 1e-4):
        raise ValueError(f"its logits are {apart:.2g} from those of the model")
