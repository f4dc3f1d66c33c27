// What recipes may say, told by the descriptions that read them: schema, components, documents.

#include "compress/augment/augment.h"
#include "compress/base/strings.h"
#include "compress/constraint/calibration.h"
#include "compress/constraint/constraint.h"
#include "compress/data/compose.h"
#include "compress/data/layouts.h"
#include "compress/eval/metric.h"
#include "compress/objective/objective.h"
#include "compress/optim/optim.h"
#include "compress/pipeline/recipe.h"
#include "compress/surgery/surgery.h"
#include "compress/teacher/teacher.h"
#include "compress/train/options.h"

namespace compress::pipeline {

std::vector<const recipe::ComponentInfo*> all_components() {
  const std::initializer_list<const recipe::Registry*> all = {
      &surgery::edits(),        &teacher::teachers(),   &augment::augments(),
      &objective::objectives(), &constraint::pruning(), &constraint::quantization(),
      &optim::optimizers(),     &optim::schedules(),    &optim::movers(),
      &optim::averagings(),     &data::composers(),     &eval::metrics()};
  std::vector<const recipe::ComponentInfo*> list;
  for (const recipe::Registry* registry : all)
    for (const auto& info : registry->list()) list.push_back(info.get());
  return list;
}

recipe::Json recipe_schema() {
  return recipe::document_schema(RecipeOptions::options().info(), "A recipe of compress");
}

namespace {

using recipe::ComponentInfo;
using recipe::describe;

std::string layout_list() {
  std::vector<std::string> names;
  for (const data::LayoutFacts& layout : data::layout_facts())
    names.push_back("`" + layout.name + "` (" + layout.summary + ")");
  return join(names, ", ");
}

// "section" is no role: nothing can be put in its place.
ComponentInfo data_section() {
  return describe<data::DatasetOptions>(
      "section", "data", "a data set: an entry of `data:`, under a name of your choice", "", "",
      "Files are read relative to the current folder. `train: {stage: NAME}` reads the rows that "
      "an earlier stage leaves (rows.jsonl); what columns they have is told with its kind, and "
      "class names must then be given (`labels`, `soft_labels`). The test part is only ever "
      "scored. "
      "A cache holds tokenised rows in files named after a hash of the data file's content, "
      "the options that decide what is read, the class names and the tokenizer; a training "
      "maps them, so that its memory does not grow with the data. The cache folder is "
      "$COMPRESS_CACHE, else $XDG_CACHE_HOME/compress, else ~/.cache/compress. Anything in "
      "`tokenised/` may be deleted: what is missing or damaged is made again. An unchanged "
      "data file (size, inode, times of modification and change) is not read again to know "
      "its hash. Where auto cannot write, rows stay in memory. Layouts: " +
          layout_list() + ".");
}

ComponentInfo mix_section() {
  return describe<train::MixOptions>(
      "section", "mix", "`data:` of a training stage: several data sets as one",
      "share of data set m in an epoch ~ weight_m * min(rows_m, cap)^(1 / temperature)",
      "Raffel et al. 2020, arXiv 1910.10683, section 3.5.2",
      "`data: {mix: {mnli: 2, qnli: 1}, epoch: 100000}`. Without `temperature` and `cap` the "
      "shares "
      "are the weights'. The data sets have one task and the same class names (in whatever order), "
      "since one head is trained. A data set's rows are dealt out in a shuffled order until all "
      "were seen, then in another one; an epoch goes on where the one before it stopped. Scored "
      "are the validation and test parts of the first data set, or of `validation`.");
}

ComponentInfo teacher_section() {
  return describe<train::TeacherOptions>(
      "section", "teacher", "`teacher:` of a training stage: a frozen model to imitate", "", "",
      "`teacher: big` is short for `teacher: {from: big}`, and for `teachers: {teacher: {model: "
      "big}}`: a stage with several teachers, or with one of another kind, names them under "
      "`teachers:`, and objectives choose one by its name (`soft_labels: {teacher: old}`). It is "
      "scored on the validation part "
      "before anything is trained; its classes are matched to the student's by name, "
      "placeholders "
      "(LABEL_1, 1) by number. Where the tables of embeddings are padded to different sizes, "
      "logits over a vocabulary are compared on the tokens that both have.");
}

ComponentInfo cache_section() {
  return describe<train::CacheOptions>(
      "section", "cache", "`cache:` of a teacher: its answers on disk, computed once", "", "",
      "`cache: answers/` is short for `cache: {folder: answers/}`. Kept is what the stage's "
      "objectives read: logits (float32), pooled and hidden states (float16), of logits over a "
      "vocabulary the most probable tokens (float16 log-probabilities) and the others' mass, "
      "each in a safetensors file that is read by rows, never as a whole. They lie in a folder "
      "named after a hash of the teacher's files, the data and how it is read, the tokenizer, "
      "the masking and the precision; a file with another key is refused, an entry that holds "
      "less than is asked is extended. Jobs that want the same answers at once wait for the "
      "first. Masking needs `fixed: true`. Entries that are no longer wanted are deleted by "
      "hand.");
}

}  // namespace

// The recipe's own keys, told like components: its kinds of stages among them.
const std::vector<ComponentInfo>& recipe_sections() {
  static const std::vector<ComponentInfo> sections = [] {
    std::vector<ComponentInfo> list = {
        describe<RecipeOptions>("section", "recipe", "the top of a recipe file"), data_section(),
        describe<StageOptions>(
            "section", "stage",
            "an entry of `stages:`: exactly one of " + join(stage_kinds().names(), ", "))};
    for (const auto& info : stage_kinds().list()) list.push_back(*info);
    list.push_back(
        describe<train::ModelOptions>("section", "model", "`model:` of a training stage", "", "",
                                      "`model: teacher` is short for `model: {from: teacher}`."));
    list.push_back(mix_section());
    list.push_back(teacher_section());
    list.push_back(cache_section());
    list.push_back(describe<train::EvaluationOptions>(
        "section", "evaluation", "`evaluate:` of a training stage: scoring while training"));
    list.push_back(describe<train::CheckpointOptions>(
        "section", "checkpoint", "`checkpoint:` of a training stage: saving for a resume"));
    list.push_back(describe<constraint::CalibrationOptions>(
        "section", "calibration", "`quantization:` of a stage `calibrate`"));
    list.push_back(
        describe<ExpectOptions>("section", "expect", "an entry of `expect:`", "", "",
                                "Judged at the end of the run, with several seeds on the means."));
    return list;
  }();
  return sections;
}

std::string recipe_document() {
  std::string text =
      "# Recipe keys\n\n"
      "The keys of a recipe itself; the components that fill `objectives:`, `pruning:` and the "
      "like "
      "are in\n[methods.md](methods.md). Generated by `compress explain --markdown-recipe`; a test "
      "checks that this file is current.\n";
  for (const recipe::ComponentInfo& info : recipe_sections())
    text += "\n" + recipe::explain_markdown(info);
  return text;
}

std::string methods_document() {
  std::string text =
      "# Components\n\n"
      "Every component that a recipe can name, by role. Generated by `compress explain "
      "--markdown-all`; a test checks that\n"
      "this file is current.\n";
  std::string role;
  for (const recipe::ComponentInfo* info : all_components()) {
    if (info->role != role) text += "\n## Role: " + info->role + "\n";
    role = info->role;
    text += "\n" + recipe::explain_markdown(*info);
  }
  return text;
}

}  // namespace compress::pipeline
