#!/usr/bin/env python3
"""The distillation step with 80% pruning and int8 fake quantisation, beside Hugging Face.

    .venv/bin/python bench/sparse_int8.py [--steps 30] [--rounds 3] [--batch 32] [--no-compile]

The step is that of bench/distillation.py. Both sides multiply the encoder's weights by a mask
with 80% zeros (the smallest magnitudes of all matrices together) and quantise weights (int8, one
scale an output row) and activations (int8, one scale a token) with straight-through gradients.
torchao is not pinned in requirements.txt: the peer's linear layers use
torch.fake_quantize_per_channel_affine with the same scales (largest magnitude / 127.5, codes
-128..127). Ours is timed with a mask that is fixed from the first update; "gradually" also computes
a new mask every 10 updates. Prices compare medians.
"""

import peers

PRUNED = "{magnitude: {sparsity: 80%, schedule: constant, begin: 0%}}"
GRADUAL = "{magnitude: {sparsity: 80%, initial: 50%, begin: 0%, end: 100%, every: 10 steps}}"
INT8 = "{weights: int8, activations: int8}"


def quantise(model):
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

    layers = [m for m in model.bert.encoder.modules() if type(m) is torch.nn.Linear]
    with torch.no_grad():
        sizes = torch.cat([layer.weight.abs().flatten() for layer in layers])
        threshold = sizes.kthvalue(int(0.8 * len(sizes))).values
        for layer in layers:
            layer.register_buffer("mask", (layer.weight.abs() > threshold).float())
            layer.__class__ = Linear


def main():
    options = peers.arguments(__doc__, more=peers.NO_COMPILE)
    import torch
    import training

    def peer(**how):
        return training.HuggingFace(
            options.batch, training.KEPT, teacher=True, change=quantise, **how
        )

    def ours(**how):
        return peers.Ours("distillation.yaml", "student", options.batch, **how)

    both = {"pruning": PRUNED, "quantization": INT8}
    entries = {"Hugging Face float32": peer(), "Hugging Face bf16 autocast": peer(bf16=True)}
    if not options.no_compile:
        entries["Hugging Face float32 torch.compile"] = peer(compiled=True)
    entries |= {
        "dense float32": ours(),
        "pruned float32": ours(pruning=PRUNED),
        "pruned gradually float32": ours(pruning=GRADUAL),
        "int8 float32": ours(quantization=INT8),
        "compress pruned int8 float32": ours(**both),
        "dense bf16": ours(precision="bf16"),
        "compress pruned int8 bf16": ours(precision="bf16", **both),
    }
    found = peers.alternate(entries, options.steps, options.rounds)
    threads = torch.get_num_threads()
    peers.table(
        f"distillation step, pruned and int8, batch {options.batch}, {threads} threads, samples/s\n"
        "  (Hugging Face's rows: pruned and int8; the other rows are this program's)",
        found,
    )
    peers.ratio(found)
    parts = ("pruned float32", "pruned gradually float32", "int8 float32")
    peers.price(found, "dense float32", (*parts, "compress pruned int8 float32"))
    peers.price(found, "dense bf16", ("compress pruned int8 bf16",))


if __name__ == "__main__":
    main()
