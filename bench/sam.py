#!/usr/bin/env python3
"""The distillation step with sharpness-aware minimisation (SAM) and weight averaging (SWA).

    .venv/bin/python bench/sam.py [--steps 30] [--rounds 3] [--batch 32] [--no-compile]

The step is that of bench/distillation.py, in float32 (SAM's perturbation lies below bf16's
resolution). The peer's SAM is the usual one in Python: backward, weights + rho g / ||g||, forward
and backward again, weights back, update; the teacher runs once. It is timed as it is and with
torch.compile(dynamic=True). SWA takes a snapshot after every update. Prices compare medians with
this program's plain step.
"""

import peers

SAM = "{sam: {rho: 0.05}}"
SWA = "{swa: {start: 0%}}"


def main():
    options = peers.arguments(__doc__, more=peers.NO_COMPILE)
    import torch
    import training

    def ours(**how):
        return peers.Ours("distillation.yaml", "student", options.batch, **how)

    def peer(**how):
        return training.HuggingFace(
            options.batch, training.KEPT, teacher=True, rho=0.05, **how
        )

    entries = {"Hugging Face SAM": peer()}
    if not options.no_compile:
        entries["Hugging Face SAM torch.compile"] = peer(compiled=True)
    entries |= {
        "plain": ours(),
        "SWA": ours(averaging=SWA),
        "compress SAM": ours(sharpness=SAM),
        "SAM and SWA": ours(sharpness=SAM, averaging=SWA),
    }
    found = peers.alternate(entries, options.steps, options.rounds)
    threads = torch.get_num_threads()
    peers.table(
        f"distillation step, float32, batch {options.batch}, {threads} threads, samples/s\n"
        "  (all rows but Hugging Face's are this program's)",
        found,
    )
    peers.ratio(found)
    peers.price(found, "plain", ("SWA", "compress SAM", "SAM and SWA"))


if __name__ == "__main__":
    main()
