"""Writes a transformers classifier as ONNX, in float32 or with int8 linear layers.

The package onnx is not pinned in requirements.txt, so neither the newer exporter of torch nor
onnxruntime.quantization runs. The older exporter needs onnx for functions that these graphs do not
hold; that step is skipped. The int8 graph has the nodes that quantize_dynamic of
onnxruntime.quantization writes for a linear layer: DynamicQuantizeLinear (uint8, a whole tensor),
MatMulInteger (int8 weights, one scale an output), Cast, Mul, Add.
"""

import contextlib
import io
import unittest.mock
import warnings

import torch


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
