"""The archive of scripts/bundle: unpacked elsewhere, it runs with LibTorch alone.

Run from the repository root: .venv/bin/python tests/cli/test_bundle.py
It bundles build/release and is skipped where another build is tested (COMPRESS_BIN).
"""

import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "build/release/bin/compress"
BINARY = pathlib.Path(os.environ.get("COMPRESS_BIN", RELEASE)).resolve()
SITE = next((ROOT / ".venv/lib").glob("python3*/site-packages")).resolve()
TORCH = SITE / "torch"
# The whole chain of the quickstart, two updates a stage.
SHORT = [
    word for setting in (
        "data.reviews.limit=32", "stages.teacher.train.for=2 steps",
        "stages.student.train.for=2 steps",
        "stages.sparse.train.for=2 steps", "stages.int8.train.for=2 steps",
    ) for word in ("--set", setting)
]


@unittest.skipUnless(BINARY == RELEASE.resolve(), "only the release build is bundled")
class Bundle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name).resolve()
        # Other tests may be running the program: it must not be linked anew now.
        made = subprocess.run([ROOT / "scripts/bundle", "--no-build", "--out", cls.folder / "made"],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise AssertionError(made.stdout + made.stderr)
        (cls.archive,) = (cls.folder / "made").glob("compress-*.tar.gz")
        with tarfile.open(cls.archive) as archive:
            cls.names = archive.getnames()
            archive.extractall(cls.folder / "elsewhere", filter="data")
        (cls.root,) = (cls.folder / "elsewhere").iterdir()

    def launch(self, *words, **environment):
        """Runs bin/compress with nothing but a PATH of the system."""
        kept = {key: os.environ[key] for key in ("HOME", "COMPRESS_CACHE", "XDG_CACHE_HOME")
                if key in os.environ}
        environment = kept | {"PATH": "/usr/bin:/bin", "OMP_WAIT_POLICY": "passive"} | environment
        return subprocess.run([self.root / "bin/compress", *words], cwd=self.root, text=True,
                              env=environment, capture_output=True, check=False, timeout=600)

    def python(self, *options):
        """A folder for PATH whose python3 is ours with these options."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        program = folder / "python3"
        words = " ".join([f'"{sys.executable}"', *options])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
        return f"{folder}:/usr/bin:/bin"

    def refused(self, result, *texts):
        self.assertEqual(result.returncode, 127, result.stderr)
        for text in ("error: LibTorch: ", "hint: ", "2.11.0", *texts):
            self.assertIn(text, result.stderr)

    def test_it_is_small_and_whole(self):
        self.assertLess(self.archive.stat().st_size, 60_000_000)
        self.assertEqual({name.split("/")[0] for name in self.names}, {self.root.name})
        for name in ("LICENSE", "README.md", "docs/cluster.md", "configs/quickstart.yaml",
                     "tools/fetch", "scripts/slurm/compress.sbatch", "licences/README.txt"):
            self.assertTrue((self.root / name).is_file(), name)
        notices = (self.root / "licences/README.txt").read_text()
        for library in (self.root / "lib").glob("*.so*"):
            stem = re.sub(r"(_train)?\.so.*", "", library.name)
            self.assertIn(stem, notices)

    def test_nothing_leads_back_to_the_build_tree(self):
        for path in (self.root / "libexec/compress", *(self.root / "lib").rglob("*.so*")):
            dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True,
                                     check=True).stdout
            paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic)
            expected = ["$ORIGIN/../lib"] if path.name == "compress" else []
            self.assertEqual(paths, expected, path)

    def loaded(self, result):
        """The libraries that the dynamic loader initialised (LD_DEBUG=libs)."""
        self.assertEqual(result.returncode, 0, result.stderr)
        return set(re.findall(r"calling init: (\S+)", result.stderr))

    def test_version_with_a_named_libtorch(self):
        for folder in (TORCH, TORCH / "lib"):
            result = self.launch("--version", COMPRESS_LIBTORCH=str(folder), LD_DEBUG="libs")
            self.assertIn("LibTorch   2.11.0", result.stdout)
            loaded = self.loaded(result)
            self.assertIn(str(TORCH / "lib/libtorch_cpu.so"), loaded)
            for name in ("libsentencepiece.so.0", "libsentencepiece_train.so.0"):
                self.assertIn(str(self.root / "lib" / name), map(os.path.normpath, loaded))
            for path in map(os.path.normpath, loaded):
                self.assertTrue(path.startswith((str(self.root), str(SITE), "/lib", "/usr/lib")),
                                path)

    def test_version_with_the_libtorch_of_python(self):
        result = self.launch("--version", PATH=f"{ROOT / '.venv/bin'}:/usr/bin:/bin")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("LibTorch   2.11.0", result.stdout)

    def test_an_older_libstdcxx_is_replaced(self):
        old = self.folder / "old"
        old.mkdir()
        (old / "libstdc++.so.6").write_bytes(b"GLIBCXX_3.4.29\0")
        result = self.launch("--version", COMPRESS_LIBTORCH=str(TORCH), LD_DEBUG="libs",
                             LD_LIBRARY_PATH=str(old))
        self.assertIn(str(self.root / "lib/gcc/libstdc++.so.6"),
                      map(os.path.normpath, self.loaded(result)))

    def test_the_program_takes_the_place_of_the_launcher(self):
        process = subprocess.Popen(
            [self.root / "bin/compress", "tokenizer", "encode", ROOT / "models/all-MiniLM-L6-v2"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env={"PATH": "/usr/bin:/bin", "COMPRESS_LIBTORCH": str(TORCH)},
        )
        with process:
            process.stdin.write("hello\n" * 20000)  # more than a pipe holds: it is reading by now
            process.stdin.flush()
            self.assertEqual(os.readlink(f"/proc/{process.pid}/exe"),
                             str(self.root / "libexec/compress"))
            process.kill()

    def test_without_libtorch(self):
        self.refused(self.launch("--version", PATH=self.python("-I", "-S")),
                     "COMPRESS_LIBTORCH is not set")
        self.refused(self.launch("--version", COMPRESS_LIBTORCH="/nowhere"),
                     "no libtorch.so", "/nowhere")

    def test_another_version_of_libtorch(self):
        for name, text in (("version.py", "__version__ = '2.9.1+cu128'\n"),
                           ("build-version", "2.9.1+cpu\n"), ("version.py", "")):
            folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
            (folder / "lib").mkdir()
            (folder / "lib/libtorch.so").touch()
            (folder / name).write_text(text)
            result = self.launch("--version", COMPRESS_LIBTORCH=str(folder))
            self.refused(result, "2.9.1" if text else "does not say its version")

    def test_the_quickstart(self):
        subprocess.run([sys.executable, self.root / "tools/fetch", "--quiet", "all-MiniLM-L6-v2",
                        "products"], check=True, cwd=self.root)
        torch = {"COMPRESS_LIBTORCH": str(TORCH)}
        plan = self.launch("plan", "configs/quickstart.yaml", **torch)
        self.assertEqual(plan.returncode, 0, plan.stderr)
        self.assertIn("18 matches, 5,308,416 weights", plan.stdout)
        run = self.launch("run", "configs/quickstart.yaml", *SHORT, "--out", "run", **torch)
        # 7: the run is complete, but two updates may miss the numbers that the recipe expects.
        self.assertIn(run.returncode, (0, 7), run.stderr)
        self.assertIn("compressed-tensors", run.stdout)
        self.assertTrue((self.root / "run/result.json").is_file())


if __name__ == "__main__":
    unittest.main()
