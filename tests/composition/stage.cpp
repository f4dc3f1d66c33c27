#include "composition/stage.h"

#include <unistd.h>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/pipeline/run.h"
#include "compress/surgery/surgery.h"
#include "materials/workbench.h"
#include "unit/checkpoint/tiny.h"
#include "unit/train/stage.h"

namespace compress::composition {

namespace fs = std::filesystem;

namespace {

constexpr const char* stage_name = "both";

// Films are good and fine, or bad and dull; the rows' lengths and weights differ.
void write_rows(const fs::path& file, int rows) {
  std::string text = "text\tlabel\tweight\n";
  for (int row = 0; row < rows; ++row) {
    const bool good = row % 2 == 0;
    text += good ? "the film good" : "the plot bad";
    for (int i = 0; i < row % 4; ++i) text += good ? " fine" : " dull";
    text += str(good ? "\tpositive" : "\tnegative", "\t", 0.5 + row % 3, "\n");
  }
  write_file(file, text);
}

// A folder of the tiny model with one head and, where they are named, attachments. Half of its
// matrices' weights are zeros, so that a pattern can be kept.
void write_model(const fs::path& folder, const std::string& head, const std::string& edits = "") {
  nn::ModelState state = tiny::state();
  for (auto& [name, tensor] : state.tensors)
    if (tensor.dim() == 2 && name.starts_with("encoder."))
      tensor.masked_fill_(tensor.abs() < tensor.abs().median(), 0);
  if (!edits.empty()) {
    surgery::Workshop workshop(4);
    const train::TrainOptions options =
        train::options_from(str("for: 1 step\nmodel: {from: none, ", edits, "}\n", train::head));
    surgery::apply(options.model.surgery, state, workshop);
  }
  nn::set_head(state, nn::parse_head(head),
               head == "classification" ? std::vector<std::string>{"negative", "positive"}
                                        : std::vector<std::string>{});
  checkpoint::save_model(*nn::build(state, 3), folder);
  tiny::write_tokenizer(folder);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string list_of(const char* key, const std::vector<std::string>& items) {
  return items.empty() ? "" : str("      ", key, ": [", join(items, ", "), "]\n");
}

void add(std::vector<std::string>& list, const std::string& text) {
  if (!text.empty()) list.push_back(text);
}

// Of two entries the keys that both have something to say of.
std::vector<std::string> both(const Pieces& a, const Pieces& b, std::string Pieces::*piece) {
  std::vector<std::string> list;
  add(list, a.*piece);
  add(list, b.*piece);
  return list;
}

std::string first_of(const std::vector<std::string>& list, const std::string& otherwise) {
  return list.empty() ? otherwise : list.front();
}

struct Terms {
  std::vector<std::string> objectives, teachers;
};

// The objectives of a pair, and the teachers that they read.
Terms terms_of(const Pieces& a, const Pieces& b, const std::string& head) {
  Terms terms;
  terms.objectives = both(a, b, &Pieces::objective);
  terms.teachers = both(a, b, &Pieces::teacher);
  const bool has_labels = std::find(terms.objectives.begin(), terms.objectives.end(),
                                    "labels: {}") != terms.objectives.end();
  bool read = a.reads_teacher || b.reads_teacher;
  const bool embeds = head == "embedding";  // which no label is of
  for (size_t i = 0; i < terms.teachers.size(); ++i) {
    if (read && terms.teachers.size() == 1) break;
    terms.objectives.push_back(
        str(embeds ? "contrastive" : "soft_labels", ": {teacher: t", i, "}"));
  }
  read = read || !terms.teachers.empty();
  if (embeds && !read) {
    terms.objectives.push_back("contrastive: {}");
    read = true;
  }
  if (!embeds && !has_labels) terms.objectives.push_back("labels: {}");
  for (const std::string& more : both(a, b, &Pieces::more_terms)) terms.objectives.push_back(more);
  if (read && terms.teachers.empty())
    terms.teachers.push_back(
        str("{model: {from: $base", first_of(both(a, b, &Pieces::teacher_options), ""), "}}"));
  for (size_t i = 0; i < terms.teachers.size(); ++i)
    terms.teachers[i] = str("t", i, ": ", terms.teachers[i]);
  return terms;
}

// The latents and helpers after a run.
nn::TensorMap weights_of(const pipeline::Prepared& prepared) {
  nn::TensorMap map;
  for (const nn::Parameter& parameter : prepared.student->params().list())
    map[parameter.name] = parameter.latent.detach().clone();
  for (const nn::Parameter& parameter : prepared.binding->helpers().list())
    map["helper " + parameter.name] = parameter.latent.detach().clone();
  return map;
}

// "" where all are the same bits, else the name of one that is not.
std::string difference(const nn::TensorMap& a, const nn::TensorMap& b) {
  if (a.size() != b.size()) return "another number of tensors";
  for (const auto& [name, value] : a)
    if (b.find(name) == b.end() || !torch::equal(value, b.at(name))) return name;
  return "";
}

// The recipe's last stage as a run has it before the first update.
pipeline::Prepared prepare(pipeline::Workbench& bench, const pipeline::Recipe& recipe,
                           const fs::path& state) {
  pipeline::Prepared prepared =
      bench.prepare(*recipe.stage(stage_name), pipeline::TeacherCheck::score);
  prepared.job.state_file = state;
  prepared.job.identity = "same";
  prepared.job.quiet = true;
  prepared.job.evaluate = [] { return train::Score{{{"accuracy", 0.5}}, 0.5, true}; };
  return prepared;
}

// In memory where there is a place: what is written for each pair is forced to the disk otherwise.
fs::path room() {
  const fs::path memory = "/dev/shm";
  return ::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path();
}

}  // namespace

Ground::Ground() : root_(room() / str("compress-composition-", ::getpid())) {
  fs::remove_all(root_);
  fs::create_directories(root_);
  write_model(root_ / "base", "classification");
  write_model(root_ / "masked", "masked_lm");
  write_model(root_ / "attached", "classification", "lora: {rank: 2, name: old}");
  write_rows(root_ / "train.tsv", 26);
  write_rows(root_ / "others.tsv", 9);
  write_rows(root_ / "dev.tsv", 4);
}

Ground::~Ground() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

std::string Ground::recipe_text(const Pieces& a, const Pieces& b) const {
  const std::string at = root_.string() + "/";
  const std::string head = first_of(both(a, b, &Pieces::head), "");
  const std::string columns = join(both(a, b, &Pieces::data), ", ");
  auto data = [&](const char* name, const char* file) {
    return str(
        "  ", name, ": {train: ", at, file, ", text: text, max_length: 12, cache: off, ",
        head == "embedding" ? "task: unlabelled" : "label: label, validation: " + at + "dev.tsv",
        columns.empty() ? "" : ", ", columns, "}\n");
  };
  std::string text = "name: pair\ndata:\n" + data("films", "train.tsv");
  const bool mixture = a.mixture || b.mixture;
  if (mixture) text += data("others", "others.tsv");
  std::vector<std::string> model = {
      "from: " + first_of(both(a, b, &Pieces::from), head == "masked_lm" ? "$masked" : "$start")};
  add(model, head.empty() ? "" : "head: " + head);
  for (const std::string& edit : both(a, b, &Pieces::model)) model.push_back(edit);
  const Terms terms = terms_of(a, b, head);
  text += str("stages:\n  - name: ", stage_name, "\n    train:\n      model: {", join(model, ", "),
              "}\n      data: ", mixture ? "{mix: {films: 2, others: 1}}" : "films",
              "\n      for: 20 steps\n      batch: 4\n      device: cpu\n      evaluate: {keep: "
              "last}\n      checkpoint: 12 steps\n");
  if (!terms.teachers.empty()) text += "      teachers: {" + join(terms.teachers, ", ") + "}\n";
  text += list_of("objectives", terms.objectives) +
          list_of("augment", both(a, b, &Pieces::augment)) +
          list_of("pruning", both(a, b, &Pieces::pruning));
  for (const std::string& key : both(a, b, &Pieces::train)) text += "      " + key + "\n";
  if (text.find("precision:") == std::string::npos) text += "      precision: float32\n";
  if (text.find("optimizer:") == std::string::npos)
    text += "      optimizer: {adamw: {lr: 1e-2}}\n";
  text = replaced(text, "$base", at + (head == "masked_lm" ? "masked" : "base"));
  text = replaced(text, "$start", at + "base");
  for (const char* name : {"masked", "attached", "answers"})
    text = replaced(text, str("$", name), at + name);
  return text;
}

// What the plan says against a recipe; "" for nothing. Anything but a mistake in the recipe is
// thrown on.
std::string Ground::refusal_of(const std::string& text) const {
  const fs::path file = root_ / "recipe.yaml";
  write_file(file, text);
  try {
    pipeline::plan_text(pipeline::load_recipe(file));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::recipe) throw;
    return replaced(error.message(), root_.string() + "/", "");
  }
  return "";
}

Outcome Ground::plan(const Entry& a, const Entry& b) const {
  if (!a.slot.empty() && a.slot == b.slot)
    return {.one_slot = true, .refusal = "", .ways = "", .recipe = ""};
  Outcome first;
  for (size_t i = 0; i < a.ways.size(); ++i)
    for (size_t j = 0; j < b.ways.size(); ++j) {
      Outcome outcome;
      outcome.recipe = recipe_text(a.ways[i].pieces, b.ways[j].pieces);
      outcome.refusal = refusal_of(outcome.recipe);
      std::vector<std::string> ways;
      if (i > 0) ways.push_back(str(a.name, ": ", a.ways[i].options));
      if (j > 0) ways.push_back(str(b.name, ": ", b.ways[j].options));
      outcome.ways = replaced(join(ways, "; "), "$", "");
      if (outcome.refusal.empty()) return outcome;
      if (i + j == 0) first = std::move(outcome);
    }
  return first;
}

std::string Ground::run(const std::string& text) const {
  const fs::path file = root_ / "recipe.yaml", state = root_ / "state", left = root_ / "killed";
  write_file(file, text);
  std::error_code ignored;
  fs::remove_all(root_ / "answers", ignored);
  for (const fs::path& old : {state, left}) fs::remove(old, ignored);
  const pipeline::Recipe recipe = pipeline::load_recipe(file);
  pipeline::Workbench bench(
      recipe, [](const std::string& name) { return fs::path(name); },
      [](const std::string& name) { return name; }, nullptr, nullptr);
  pipeline::Prepared whole = prepare(bench, recipe, state);
  const nn::TensorMap before = weights_of(whole);
  whole.job.after_update = [&](int64_t step) {
    if (step == 15) fs::copy_file(state, left);
  };
  const train::Result result = train::run(whole.job, *whole.binding);
  if (result.steps != 20) return str(result.steps, " updates were made");
  const nn::TensorMap expected = weights_of(whole);
  if (difference(before, expected).empty()) return "nothing was learnt";
  pipeline::Prepared again = prepare(bench, recipe, left);
  train::run(again.job, *again.binding);
  const std::string other = difference(expected, weights_of(again));
  return other.empty() ? "" : str("after a kill and a resume ", other, " has other bits");
}

}  // namespace compress::composition
