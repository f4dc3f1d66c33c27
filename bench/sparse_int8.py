#!/usr/bin/env python3
"""The distillation step with 80% pruning and int8 fake quantisation, beside Hugging Face.

    .venv/bin/python bench/sparse_int8.py [--steps 30] [--rounds 3] [--batch 32] [--no-compile]

The step is that of bench/distillation.py. Both sides multiply the encoder's weights by a mask
with 80% zeros (the smallest magnitudes of all matrices together) and quantise weights (int8, one
scale an output row) and activations (int8, one scale a token) with straight-through gradients.
Scales are the largest magnitude / 127.5, codes -128..127.

There are two peers. "torchao" prepares the encoder's linear layers by torchao's QATConfig; its
per-token activations are asymmetric (a scale and a zero point a token), as it has no symmetric
ones. "by hand" uses torch.fake_quantize_per_channel_affine, one fused kernel, with our arithmetic.
Ours is timed with a mask that is fixed from the first update; "gradually" also computes a new mask
every 10 updates. Prices compare medians.
"""

import importlib.util

import peers

PRUNED = "{magnitude: {sparsity: 80%, schedule: constant, begin: 0%}}"
GRADUAL = "{magnitude: {sparsity: 80%, initial: 50%, begin: 0%, end: 100%, every: 10 steps}}"
INT8 = "{weights: int8, activations: int8}"


def masks(model):
    """(linear layer of the encoder, its mask): the smallest 80% of all their weights are zero."""
    import torch

    layers = [m for m in model.bert.encoder.modules() if type(m) is torch.nn.Linear]
    with torch.no_grad():
        sizes = torch.cat([layer.weight.abs().flatten() for layer in layers])
        threshold = sizes.kthvalue(int(0.8 * len(sizes))).values
        return [(layer, (layer.weight.abs() > threshold).float()) for layer in layers]


def by_hand(model):
    """Puts masks and fake quantisation into the encoder's linear layers."""
    import torch

    def fake(x):
        scale = (x.detach().abs().amax(1) / 127.5).clamp_min(1e-12)
        zero = torch.zeros(len(x), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(x, scale, zero, 0, -128, 127)

    class Linear(torch.nn.Linear):
        def forward(self, x):
            weight = fake(self.weight * self.mask)
            rows = fake(x.flatten(0, -2).float()).view(x.shape)
            return torch.nn.functional.linear(rows, weight, self.bias)

    for layer, mask in masks(model):
        layer.register_buffer("mask", mask)
        layer.__class__ = Linear


def by_torchao(model):
    """The same by torchao's fake quantisers."""
    import torch
    from torchao.quantization import quantize_
    from torchao.quantization.qat import (
        FakeQuantizedLinear, IntxFakeQuantizeConfig, QATConfig,
    )

    class Linear(FakeQuantizedLinear):
        def forward(self, x):
            weight = self.weight_fake_quantizer(self.weight * self.mask)
            return torch.nn.functional.linear(
                self.activation_fake_quantizer(x), weight, self.bias
            )

    kept = [mask for _, mask in masks(model)]
    config = QATConfig(
        activation_config=IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False),
        weight_config=IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True),
        step="prepare",
    )
    quantize_(model.bert.encoder, config, lambda m, _: type(m) is torch.nn.Linear)
    layers = [m for m in model.bert.encoder.modules() if isinstance(m, torch.nn.Linear)]
    for layer, mask in zip(layers, kept, strict=True):
        layer.register_buffer("mask", mask)
        layer.__class__ = Linear


def main():
    options = peers.arguments(__doc__, more=peers.NO_COMPILE)
    import torch
    import training

    if importlib.util.find_spec("torchao") is None:
        peers.fail("torchao is missing: run scripts/setup, which installs requirements.txt")

    def peer(change, **how):
        return training.HuggingFace(
            options.batch, training.KEPT, teacher=True, change=change, **how
        )

    def ours(**how):
        return peers.Ours("distillation.yaml", "student", options.batch, **how)

    both = {"pruning": PRUNED, "quantization": INT8}
    precisions = peers.precisions()
    entries = {}
    for name, change in (("torchao", by_torchao), ("by hand", by_hand)):
        for each in precisions:
            entries[f"Hugging Face {name} {each}"] = peer(change, bf16=each == "bf16")
        if not options.no_compile:
            best = precisions[-1]
            entries[f"Hugging Face {name} {best} compiled"] = peer(
                change, bf16=best == "bf16", compiled=True)
    entries |= {
        "dense float32": ours(),
        "pruned float32": ours(pruning=PRUNED),
        "pruned gradually float32": ours(pruning=GRADUAL),
        "int8 float32": ours(quantization=INT8),
        "compress pruned int8 float32": ours(**both),
    }
    if "bf16" in precisions:
        entries["dense bf16"] = ours(precision="bf16")
        entries["compress pruned int8 bf16"] = ours(precision="bf16", **both)
    found = peers.alternate(entries, options.steps, options.rounds)
    threads = torch.get_num_threads()
    peers.table(
        f"distillation step, pruned and int8, batch {options.batch}, {threads} threads, samples/s\n"
        "  (Hugging Face's rows: pruned and int8; the other rows are this program's)",
        found,
    )
    peers.ratio(found, peer="Hugging Face torchao")
    peers.ratio(found, peer="Hugging Face by hand")
    parts = ("pruned float32", "pruned gradually float32", "int8 float32")
    peers.price(found, "dense float32", (*parts, "compress pruned int8 float32"))
    if "bf16" in precisions:
        peers.price(found, "dense bf16", ("compress pruned int8 bf16",))


if __name__ == "__main__":
    main()
