#!/usr/bin/env python3
"""Samples per second of the distillation step: this program beside Hugging Face, in one run.

    .venv/bin/python bench/distillation.py [--steps 30] [--rounds 3] [--batch 32] [--no-compile]
        [--device cuda]

Both read the same movie sentences (at most 128 tokens), teach layers 0, 2, 4 of all-MiniLM-L6-v2
from the six-layer model (temperature 2, half soft and half hard labels), and update with AdamW and
clipping at 1. Hugging Face's side is the usual loop: rows tokenised before, padded batches,
transformers' BertForSequenceClassification, torch.optim.AdamW (fused); as it is, with bf16
autocast, and compiled with torch.compile(dynamic=True). Its batches hold rows of like length, as
ours do; "random order" shows the loop without that. The rounds alternate; minimum, median and
maximum are printed, and the ratio of the medians. The limit is the time of the step's matrix
products alone (see Products in training.py), in the faster of float32 and bf16.
"""

import peers


def main():
    options = peers.arguments(__doc__, more=peers.NO_COMPILE | peers.DEVICE)
    import step
    import training

    step.compare(options, "distillation step", "distillation.yaml", "student", training.KEPT, True)


if __name__ == "__main__":
    main()
