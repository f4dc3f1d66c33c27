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


# The roles of components, and names of theirs that are words of recipes, models or files as well.
ROLES = ["objective", "augment", "pruning", "quantization", "optimizer", "schedule", "sharpness",
         "averaging", "surgery", "teacher", "composition"]
OTHER_MEANINGS = {"attention", "average", "constant", "cosine", "labels", "linear", "model",
                  "prefix", "projection", "quantization", "soft_labels", "student"}
# Kinds of stages whose names are those of subcommands or keys too.
OTHER_STAGES = {"evaluate", "export", "generate", "train"}


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
        lines = [line for line in lines if line and not line.endswith("= delete") and not re.match(
            r"(?:class|struct|enum|using|friend|static constexpr)\b|virtual ~|~|explicit|"
            rf"{found[1]}\(", line)]
        while any("<" in line for line in lines):  # arguments of templates
            shorter = [re.sub(r"<[^<>]*>", "", line) for line in lines]
            if shorter == lines:
                break
            lines = shorter
        # What has an argument list in front of any initial value.
        methods = [line for line in lines
                   if re.match(r"[^=(]*\w\s*\(", re.sub(r"operator\s*\W+?\(", "operator(", line))]
        fields = [re.sub(r"\([^()]*\)", "", line) for line in lines if line not in methods]
        # One declaration may name several.
        yield found[1], sum(line.count(",") + 1 for line in fields), len(methods)


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

    def test_only_its_own_file_names_a_component(self):
        """Its own file, its role's register, and the face of its kind (attachments have two)."""
        own = {}
        texts = {path: re.sub(r"//[^\n]*", "", path.read_text()) for path, _ in sources()}
        for path, text in texts.items():
            for name in re.findall(r'describe<\w+>\(\s*"(?:' + "|".join(ROLES) + r')",\s*"(\w+)"',
                                   text):
                own.setdefault(name, set()).add(path)
        self.assertGreaterEqual(len(own), 40)
        wrong = []
        for path, text in texts.items():
            at = path.relative_to(ROOT)
            wrong += [f"{at} asks for {name}" for name in re.findall(r'name\(\) == "(\w+)"', text)]
            if path.name in ("register.cpp", "attachment.h"):
                continue
            wrong += [f"{at} names {name}" for name in re.findall(r'"(\w+)"', text)
                      if name in own and path not in own[name] and path.stem != name
                      and name not in OTHER_MEANINGS]
        self.assertEqual(sorted(set(wrong)), [])

    def test_every_part_of_an_update_meets_a_card(self):
        """An edit of a model is over before anything moves to a card; attachments are there."""
        named = set()
        for path, module in sources():
            named.update(re.findall(r'describe<\w+>\(\s*"(?:' + "|".join(ROLES) + r')",\s*"(\w+)"',
                                    path.read_text()))
            if module == "surgery" and path.parent.name != "attach" or path.stem == "merge":
                named -= set(re.findall(r'describe<\w+>\(\s*"surgery",\s*"(\w+)"',
                                        path.read_text()))
        self.assertGreater(len(named), 30)
        text = "".join((ROOT / at).read_text()
                       for at in ("tests/gpu/train_test.cpp", "tests/unit/train/stage.h"))
        missing = [name for name in sorted(named) if not re.search(rf"\b{name}\b", text)]
        self.assertEqual(missing, [])

    def test_the_core_names_no_stage_task_or_metric(self):
        """What the core reads of them stands in their kinds: facts, references, needs."""
        kinds, tasks = set(), set()
        for path, module in sources():
            text = path.read_text()
            if path.parent.name == "stages":
                kinds.update(re.findall(r'\(\s*registry, "(\w+)"', text))
            if path.parent.name == "tasks" and module == "data":
                tasks.update(re.findall(r'TaskKind\(\{\.name = "(\w+)"', text))
        self.assertGreater(len(kinds), 6)
        self.assertGreater(len(tasks), 8)
        heads = set(re.findall(r'"(\w+)"', (ROOT / "src/nn/transformer/heads.cpp").read_text()))
        wrong = []
        for path, module in sources():
            core = module == "pipeline" and not {"stages", "report"} & set(
                path.relative_to(ROOT).parts)
            if module != "train" and not core:
                continue
            text = re.sub(r"//[^\n]*", "", path.read_text())
            wrong += [f"{path.relative_to(ROOT)} names {name}"
                      for name in re.findall(r'"(\w+)"', text)
                      if name in (kinds - OTHER_STAGES) | (tasks - heads)]
        self.assertEqual(sorted(set(wrong)), [])

    def test_the_systems_files_are_there(self):
        text = (ROOT / "docs/systems.md").read_text()
        names, rest = text.split("## Reproduced here")
        lives = rest.split("## Where each lives")[1]
        self.assertEqual(names.count("\n| "), 22)  # a head, a rule, twenty systems
        self.assertEqual(lives.count("\n| "), 22)
        for folder, stems, rest in re.findall(r"`([\w/]+)/(?:\{([\w,]+)\}|(\w+))\.cpp`", lives):
            for stem in (stems or rest).split(","):
                path = ROOT / "src" / folder / f"{stem}.cpp"
                self.assertTrue(path.exists(), path)

    def test_the_counter_counts(self):
        text = """
class Sample {
 public:
  explicit Sample(int a);
  Sample& operator=(const Sample&) = delete;
  void one() const;
  virtual int two() { return f(2); }

 private:
  struct Inner {
    int x = 0, y = 0;
    std::vector<int> list{1, 2};
    bool three() const;
  };
  enum class Kind { a, b };
  void four(std::function<void(int)> f, std::map<int, int> by);
  std::function<void(int)> call;
  std::map<int, int> map;
  Inner inner_;
  int z = f(3, 4);
};
"""
        self.assertEqual(list(classes(text)), [("Sample", 7, 4)])


if __name__ == "__main__":
    unittest.main()
