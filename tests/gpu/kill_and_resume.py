"""A training stage that is killed and started again ends with the same bytes as one that is not.

    kill_and_resume.py PROGRAM DEVICE FOLDER [--steps N] [--kills K]

Trains two layers of the real model, which know the words of the rows alone, with distillation, SAM,
an average, pruning and int8 on DEVICE (cpu, cuda:0), once without a break and once killed K times
as soon as a new state is on disk. Run it from the repository root. Exit code 1 and what differs
when the models do.
"""

import argparse
import filecmp
import pathlib
import shutil
import subprocess
import sys
import time

RECIPE = """\
name: resume
data:
  reviews:
    train: data/products/train.tsv
    text: sentence
    label: label
    limit: 256
stages:
  - name: teacher
    train:
      model:
        from: models/all-MiniLM-L6-v2
        drop_layers: {strategy: top, keep: 2}
        trim_vocabulary: {data: reviews}
      data: reviews
      for: 4 steps
      device: DEVICE
  - name: student
    train:
      model: {from: teacher, drop_layers: {strategy: top, keep: 1}}
      teacher: teacher
      data: reviews
      for: STEPS steps
      batch: 8
      precision: float32
      device: DEVICE
      objectives: [soft_labels: {temperature: 2, weight: 0.5}, labels: {weight: 0.5}]
      sharpness: {sam: {rho: 0.05}}
      averaging: {swa: {start: 50%}}
      pruning: {magnitude: {sparsity: 80%, begin: 10%, end: 40%, every: 4 steps}}
      quantization: {start: 30%}
      checkpoint: {every: 5 steps}
"""


def state_of(run):
    """When the state of the unfinished student was written; None where there is none."""
    files = list((run / "stages/student").glob("*state*.safetensors"))
    return max(file.stat().st_mtime_ns for file in files) if files else None


def killed(command, run):
    """Starts the run and kills it once it has saved a new state; False when it ended before."""
    known = state_of(run)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if state_of(run) not in (None, known):
            process.kill()
            process.wait()
            return True
        time.sleep(0.002)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("device")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    recipe = options.folder / "recipe.yaml"
    recipe.write_text(RECIPE.replace("DEVICE", options.device)
                      .replace("STEPS", str(options.steps)))
    whole, broken = options.folder / "whole", options.folder / "broken"

    def command(out):
        return [options.program, "run", recipe, "--out", out]

    subprocess.run(command(whole), check=True, stdout=subprocess.DEVNULL)
    kills = sum(killed(command(broken), broken) for _ in range(options.kills))
    subprocess.run(command(broken), check=True, stdout=subprocess.DEVNULL)
    model = pathlib.Path("stages/student/model/model.safetensors")
    same = filecmp.cmp(whole / model, broken / model, shallow=False)
    print(f"killed {kills} times: {'the same bytes' if same else 'ANOTHER MODEL'}")
    return 0 if same and kills > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
