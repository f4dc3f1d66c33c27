#!/usr/bin/env python3
"""Samples per second of fine-tuning the six-layer model: this program beside Hugging Face.

    .venv/bin/python bench/finetune.py [--steps 30] [--rounds 3] [--batch 32] [--no-compile]
        [--device cuda]

Sentences, optimiser, clipping, peers, rounds and the limit of the matrix products are those of
bench/distillation.py; there is no teacher, all six layers of all-MiniLM-L6-v2 are trained.
"""

import peers


def main():
    options = peers.arguments(__doc__, more=peers.NO_COMPILE | peers.DEVICE)
    import step

    step.compare(options, "fine-tuning step", "finetune.yaml", "model", None, False)


if __name__ == "__main__":
    main()
