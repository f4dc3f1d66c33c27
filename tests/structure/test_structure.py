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

    def test_files_stay_readable(self):
        for path, _ in sources():
            lines = path.read_text().count("\n")
            self.assertLessEqual(lines, 450, f"{path.relative_to(ROOT)} has {lines} lines")


if __name__ == "__main__":
    unittest.main()
