"""The shell logic of scripts/slurm/compress.sbatch, with stand-ins for Slurm's programs on PATH.

Run from the repository root: .venv/bin/python tests/cli/test_slurm.py
The stand-in for srun writes what it was called with and which signals it got, and ends as the test
says; the stand-in for scontrol writes what it was asked for.
"""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOB_FILE = ROOT / "scripts/slurm/compress.sbatch"

# FAKE_SRUN: a code to end with at once, or "wait" to end with 6 after SIGUSR1 (or, as the real
# ranks do when Slurm cancels a job, after SIGTERM).
SRUN = """\
#!/usr/bin/env bash
printf '%s\\n' "$@" > "$FAKE/srun.arguments"
if [[ $FAKE_SRUN != wait ]]; then exit "$FAKE_SRUN"; fi
trap 'echo USR1 >> "$FAKE/srun.signals"; sleep 0.3; exit 6' USR1
trap 'echo TERM >> "$FAKE/srun.signals"; sleep 0.3; exit 6' TERM
touch "$FAKE/srun.ready"
for _ in {1..600}; do sleep 0.05; done
exit 99
"""
SCONTROL = """\
#!/usr/bin/env bash
echo "$@" >> "$FAKE/scontrol.calls"
exit "${FAKE_SCONTROL:-0}"
"""


class Job:
    """The job file as a running process, in a folder of its own."""

    def __init__(self, folder, *arguments, srun, **environment):
        self.folder = pathlib.Path(folder)
        programs = self.folder / "bin"
        programs.mkdir()
        for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        kept = {key: value for key, value in os.environ.items()
                if not key.startswith(("SLURM_", "COMPRESS_"))}
        self.process = subprocess.Popen(
            ["bash", JOB_FILE, *arguments], cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=kept | {
                "PATH": f"{programs}:{os.environ['PATH']}", "FAKE": str(folder), "FAKE_SRUN": srun,
                "SLURM_JOB_ID": "4711", "SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "3",
            } | environment,
        )

    def until_srun_waits(self):
        end = time.monotonic() + 20
        while not (self.folder / "srun.ready").exists():
            if time.monotonic() > end:
                raise TimeoutError("the job file did not start srun")
            time.sleep(0.02)

    def result(self):
        text = self.process.communicate(timeout=60)[0]
        return self.process.returncode, text

    def lines(self, name):
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


class JobFile(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name

    def job(self, *arguments, **settings):
        return Job(self.folder, *(arguments or ("recipe.yaml",)), **settings)

    def test_success(self):
        job = self.job("recipe.yaml", "--out", "a b", srun="0")
        code, text = job.result()
        self.assertEqual(code, 0, text)
        self.assertEqual(
            job.lines("srun.arguments"),
            ["--kill-on-bad-exit=0", "--cpus-per-task=3", "compress", "--threads", "3", "run",
             "recipe.yaml", "--out", "a b"],
        )
        self.assertEqual(job.lines("scontrol.calls"), [])
        self.assertIn("complete", text)

    def test_near_its_time_limit_it_saves_and_is_requeued(self):
        job = self.job(srun="wait")
        job.until_srun_waits()
        job.process.send_signal(signal.SIGUSR1)
        code, text = job.result()
        self.assertEqual(code, 0, text)
        self.assertEqual(job.lines("srun.signals"), ["USR1"])
        self.assertEqual(job.lines("scontrol.calls"), ["requeue 4711"])

    def test_two_warnings_do_not_lose_the_code(self):
        job = self.job(srun="wait")
        job.until_srun_waits()
        job.process.send_signal(signal.SIGUSR1)
        time.sleep(0.1)
        job.process.send_signal(signal.SIGUSR1)
        code, text = job.result()
        self.assertEqual(code, 0, text)
        self.assertEqual(job.lines("scontrol.calls"), ["requeue 4711"])

    def test_ranks_that_saved_without_a_warning_are_requeued(self):
        job = self.job(srun="6")  # preempted with a grace time: SIGTERM goes to the ranks alone
        self.assertEqual(job.result()[0], 0)
        self.assertEqual(job.lines("scontrol.calls"), ["requeue 4711"])

    def test_a_cancelled_job_stays_cancelled(self):
        job = self.job(srun="wait")
        job.until_srun_waits()
        (srun,) = self.children(job.process.pid)
        job.process.send_signal(signal.SIGTERM)
        os.kill(srun, signal.SIGTERM)
        code, text = job.result()
        self.assertEqual(code, 6, text)
        self.assertEqual(job.lines("srun.signals"), ["TERM"])
        self.assertEqual(job.lines("scontrol.calls"), [])

    @staticmethod
    def children(pid):
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in text.split()]

    def test_errors_are_not_requeued(self):
        for code in ("1", "2", "5", "7", "9", "66", "137"):
            with self.subTest(code=code), tempfile.TemporaryDirectory() as folder:
                job = Job(folder, "recipe.yaml", srun=code)
                self.assertEqual(job.result()[0], int(code))
                self.assertEqual(job.lines("scontrol.calls"), [])

    def test_other_codes_can_be_named(self):
        job = self.job(srun="9", COMPRESS_REQUEUE_ON="6 9")
        self.assertEqual(job.result()[0], 0)
        self.assertEqual(job.lines("scontrol.calls"), ["requeue 4711"])

    def test_restarts_have_an_end(self):
        job = self.job(srun="6", SLURM_RESTART_COUNT="100")
        code, text = job.result()
        self.assertEqual(code, 6)
        self.assertEqual(job.lines("scontrol.calls"), [])
        self.assertIn("giving up", text)

    def test_a_refused_requeue_is_told(self):
        job = self.job(srun="6", FAKE_SCONTROL="1")
        code, text = job.result()
        self.assertEqual(code, 6)
        self.assertIn("cannot be requeued", text)

    def test_fresh_is_for_the_first_start(self):
        job = self.job("recipe.yaml", "--fresh", "--quiet", srun="0")
        job.result()
        self.assertIn("--fresh", job.lines("srun.arguments"))
        with tempfile.TemporaryDirectory() as folder:
            job = Job(folder, "recipe.yaml", "--fresh", "--quiet", srun="0",
                      SLURM_RESTART_COUNT="1")
            job.result()
            self.assertEqual(job.lines("srun.arguments")[-2:], ["recipe.yaml", "--quiet"])

    def test_without_a_recipe(self):
        job = Job(self.folder, srun="0")
        code, text = job.result()
        self.assertEqual(code, 2)
        self.assertIn("usage", text)
        self.assertEqual(job.lines("srun.arguments"), [])

    def test_the_options_that_its_logic_needs(self):
        text = JOB_FILE.read_text()
        for option in ("--requeue", "--signal=B:USR1@120", "--open-mode=append"):
            self.assertRegex(text, rf"(?m)^#SBATCH {re.escape(option)}$")
        body = text.index("\nset -u")
        self.assertNotIn("\n#SBATCH", text[body:], "sbatch ignores options after the first command")


if __name__ == "__main__":
    unittest.main()
