"""The levels of docs/design.md hold: modules include lower levels only, and so does the build."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEVELS = [
    ["base"],
    ["recipe", "storage", "text"],
    ["data"],
    ["nn", "parallel"],
    ["checkpoint", "roles"],
    ["objective", "constraint", "optim", "surgery", "teacher", "augment"],
    ["train", "eval", "generate"],
    ["export"],
    ["pipeline"],
    ["cli"],
]
LEVEL = {module: level for level, modules in enumerate(LEVELS) for module in modules}


# The roles of components, and names of theirs that are words of recipes, models or metrics as well.
ROLES = ["objective", "augment", "pruning", "quantization", "optimizer", "schedule", "sharpness",
         "averaging", "surgery", "teacher"]
OTHER_MEANINGS = {"attention", "average", "constant", "labels", "linear", "model", "projection",
                  "quantization", "student"}


def classes(text):
    """(name, fields, methods) of classes and structs, nested ones counted with their outer one."""
    text = re.sub(r"//[^\n]*|\"(?:\\.|[^\"\\])*\"", "", text)
    for found in re.finditer(r"^(?:class|struct) (\w+)[^;{]*\{", text, re.MULTILINE):
        end = text.find("\n};", found.end())
        body = text[found.end() : end if end > 0 else len(text)]
        while True:  # bodies of functions and initialisers
            shorter = re.sub(r"(\)[^;{}]*)\{[^{}]*\}", r"\1;", body)
            shorter = re.sub(r"\{[^{};]*\}", "", shorter)
            if shorter == body:
                break
            body = shorter
        lines = [line.strip() for line in re.split(r"[;{}]", body)]
        lines = [re.sub(r"^(?:public|private|protected):\s*", "", line) for line in lines]
        lines = [line for line in lines if line and not re.match(
            r"(?:class|struct|enum|using|friend|static constexpr)\b|virtual ~|~|explicit|"
            rf"{found[1]}\(", line)]
        methods = [line for line in lines
                   if re.search(r"\w\(", line) and "std::function" not in line]
        fields = [line for line in lines if line not in methods]
        # One declaration may name several.
        yield (found[1], sum(1 if "<" in line else line.count(",") + 1 for line in fields),
               len(methods))


def sources():
    for top in ("include/compress", "src"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                yield path, path.relative_to(ROOT / top).parts[0]


class Structure(unittest.TestCase):
    def test_every_folder_has_a_level(self):
        for _, module in sources():
            self.assertIn(module, LEVEL)

    def test_includes_go_down(self):
        wrong = []
        for path, module in sources():
            for name in re.findall(r'#include "compress/(\w+)/', path.read_text()):
                if name != module and LEVEL[name] >= LEVEL[module]:
                    wrong.append(f"{path.relative_to(ROOT)} ({module}) includes {name}")
        self.assertEqual(wrong, [])

    def test_the_build_declares_what_is_included(self):
        text = (ROOT / "CMakeLists.txt").read_text()
        declared = {
            name: set(depends.split())
            for name, depends in re.findall(
                r"compress_module\((\w+)(?: DEPENDS ([\w ]+?))?(?: LIBRARIES| TORCH|\))", text
            )
        }
        included = {module: set() for module in LEVEL}
        for path, module in sources():
            included[module].update(re.findall(r'#include "compress/(\w+)/', path.read_text()))
            included[module].discard(module)
        self.assertEqual(declared, included)

    def test_rooms_are_their_modules_own(self):
        """Insides are included by their place in their module, and by nobody else."""
        wrong = []
        for path, module in sources():
            for name in re.findall(r'#include "((?!compress[/_])[^"]+)"', path.read_text()):
                inside = (ROOT / "src" / module / name).exists()
                if "include/compress" in path.as_posix() or not inside:
                    wrong.append(f"{path.relative_to(ROOT)} includes {name}")
        self.assertEqual(wrong, [])

    def test_rooms_have_an_order(self):
        for module in LEVEL:
            if module == "data":  # files, tasks and rows still know each other
                continue
            top = ROOT / "src" / module
            seen = {}
            for path in top.rglob("*"):
                if path.suffix not in (".h", ".cpp"):
                    continue
                if path.name == "register.cpp":  # it knows all of its module
                    continue
                room = path.parent.relative_to(top).as_posix()
                for name in re.findall(r'#include "((?!compress[/_])[^"]+)"', path.read_text()):
                    other = pathlib.PurePosixPath(name).parent.as_posix()
                    if other != room:
                        seen.setdefault(room, set()).add(other)
            done = set()
            while True:  # rooms that read finished rooms alone are finished
                ready = {r for r in seen if r not in done and
                         all(o in done or o not in seen for o in seen[r])}
                if not ready:
                    break
                done |= ready
            self.assertEqual(set(seen) - done, set(), f"rooms of {module} include each other")

    def test_folders_are_small(self):
        for top in ("include/compress", "src"):
            for folder in [ROOT / top, *(ROOT / top).rglob("*/")]:
                count = sum(p.suffix in (".h", ".cpp") for p in folder.iterdir())
                self.assertLessEqual(count, 22, folder.relative_to(ROOT))

    def test_files_stay_readable(self):
        for path, module in sources():
            lines = path.read_text().count("\n")
            most = 300 if module == "train" else 450
            self.assertLessEqual(lines, most, f"{path.relative_to(ROOT)} has {lines} lines")

    def test_the_loops_classes_have_one_subject(self):
        for path, module in sources():
            if module != "train":
                continue
            for name, fields, methods in classes(path.read_text()):
                # What a stage is given and gives is a list by nature. What runs on a card alone is
                # not taken apart without one.
                if name.endswith(("Options", "Facts", "Job", "Result")) or name == "StepGraphs":
                    continue
                self.assertLessEqual(fields, 12, f"{name} in {path.relative_to(ROOT)}: fields")
                self.assertLessEqual(methods, 15, f"{name} in {path.relative_to(ROOT)}: methods")

    def test_the_loop_and_the_pipeline_name_no_component(self):
        named = set()
        for path, module in sources():
            named.update(re.findall(r'describe<\w+>\(\s*"(?:' + "|".join(ROLES) + r')",\s*"(\w+)"',
                                    path.read_text()))
        self.assertGreater(len(named), 15)
        wrong = []
        for path, module in sources():
            if module not in ("train", "pipeline", "eval", "export"):
                continue
            text = re.sub(r"//[^\n]*", "", path.read_text())
            wrong += [f"{path.relative_to(ROOT)} asks for {name}"
                      for name in re.findall(r'name\(\) == "(\w+)"', text)]
            wrong += [f"{path.relative_to(ROOT)} names {name}"
                      for name in re.findall(r'"(\w+)"', text) if name in named - OTHER_MEANINGS]
        self.assertEqual(sorted(set(wrong)), [])


if __name__ == "__main__":
    unittest.main()
