#include "compress/train/options.h"

#include "compress/augment/augment.h"
#include "compress/objective/objective.h"
#include "compress/optim/optim.h"
#include "compress/surgery/surgery.h"
#include "compress/teacher/teacher.h"

namespace compress::train {

const recipe::Options<HeadOptions>& HeadOptions::options() {
  static const auto description =
      recipe::Options<HeadOptions>("head")
          .field("kind", &HeadOptions::kind, "what it predicts, as the model's `head`")
          .required()
          .one_of({"classification", "regression", "masked_lm", "causal_lm", "seq2seq_lm",
                   "token_classification", "span", "multiple_choice", "replaced_token"})
          .field("labels", &HeadOptions::labels,
                 "class names; default: those that it has, else the data's")
          .field("layers", &HeadOptions::layers,
                 "layers of its own in place of the last ones, which it begins as copies of")
          .range(0, 1024)
          .shorthand("kind");
  return description;
}

const recipe::Options<ModelOptions>& ModelOptions::options() {
  static const auto description =
      recipe::Options<ModelOptions>("model")
          .field("from", &ModelOptions::from,
                 "an earlier stage, a folder in Hugging Face's layout, or a GGUF file")
          .required()
          .field("head", &ModelOptions::head, "task head; default: what the data's task asks for")
          .one_of({"classification", "regression", "masked_lm", "embedding", "causal_lm",
                   "seq2seq_lm", "token_classification", "span", "multiple_choice",
                   "replaced_token"})
          .field("heads", &ModelOptions::heads,
                 "heads beside that one, on the same body, by name; default: those that the model "
                 "has. Objectives name them (`labels: {head: NAME}`)")
          .field("pooling", &ModelOptions::pooling,
                 "of the embedding head, in the words of sentence-transformers; auto: what the "
                 "model's folder says (several modes, too), else mean")
          .one_of(
              {"auto", "cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"})
          .field(
              "train", &ModelOptions::train,
              "parameters that are trained, the others are frozen: roles (attachment, norm, "
              "bias, head, ...; with the biases of their matrices), groups of them, or globs over "
              "tensor names; default: all")
          .components_by_key(&ModelOptions::surgery, surgery::edits)
          .mark(&ModelOptions::mark)
          .shorthand("from");
  return description;
}

const recipe::Options<EvaluationOptions>& EvaluationOptions::options() {
  static const auto description =
      recipe::Options<EvaluationOptions>("evaluate")
          .field("head", &EvaluationOptions::head,
                 "the head that is scored, one of the model's `heads`; mean: its own and all that "
                 "predict the same classes, whose answers are averaged; default: its own")
          .field("metrics", &EvaluationOptions::metrics,
                 "reported metrics; default: those of the task")
          .field("select", &EvaluationOptions::select,
                 "metric that chooses the best checkpoint; default: the first")
          .field("every", &EvaluationOptions::every, "how often the validation part is scored")
          .above(0)
          .field("keep", &EvaluationOptions::keep, "which weights the stage ends with")
          .one_of({"best", "last"})
          .field("patience", &EvaluationOptions::patience,
                 "evaluations without gain before stopping; 0 = never")
          .at_least(0)
          .field("before", &EvaluationOptions::before,
                 "the validation part is also scored before the first update")
          .field("batch", &EvaluationOptions::batch, "rows a batch")
          .range(1, 65536);
  return description;
}

const recipe::Options<CheckpointOptions>& CheckpointOptions::options() {
  static const auto description =
      recipe::Options<CheckpointOptions>("checkpoint")
          .field("every", &CheckpointOptions::every, "how often the state is saved for resuming")
          .above(0)
          .shorthand("every");
  return description;
}

namespace {

// Rows with tokens of the teacher's own have no augments.
bool caches_augmented(const TrainOptions& options) {
  for (const auto& named : teachers_of(options)) {
    const TeacherOptions* model = teacher::model_of(named.value);
    if (model != nullptr && model->cache && !model->own_tokens()) return true;
  }
  return false;
}

void check_caches(const TrainOptions& options, recipe::Problems& problems) {
  if (!caches_augmented(options)) return;
  for (const recipe::Component& component : options.augment)
    if (component && !augment::make(component)->fixed())
      problems.add(component.mark,
                   component.name() +
                       " changes rows in every epoch anew, so the teacher's answers "
                       "cannot be cached",
                   "set `fixed: true`, or remove the teacher's `cache`");
}

}  // namespace

const recipe::Options<TrainOptions>& TrainOptions::options() {
  static const auto description =
      recipe::Options<TrainOptions>("train")
          .field("model", &TrainOptions::model, "the model that is trained")
          .required()
          .field("teacher", &TrainOptions::teacher, "a frozen model that objectives imitate")
          .named_components("teachers", &TrainOptions::teachers, teacher::teachers,
                            "several teachers, or one of another kind, under names that objectives "
                            "choose from")
          .field("helpers", &TrainOptions::helpers,
                 "an earlier stage whose trained helpers (the projections of its terms) this one "
                 "goes on with; default: they are drawn anew")
          .field("data", &TrainOptions::data,
                 "name of a data set, or {mix: {NAME: WEIGHT, ...}}, several of them")
          .required()
          .field("for", &TrainOptions::length, "length of the stage")
          .above(0)
          .required()
          .field("batch", &TrainOptions::batch, "rows an update")
          .range(1, 1 << 20)
          .field("accumulate", &TrainOptions::accumulate, "parts that a batch is computed in")
          .range(1, 4096)
          .field("precision", &TrainOptions::precision,
                 "of matrix products; auto: bf16 where the device has it; fp16 scales the loss")
          .one_of({"auto", "float32", "bf16", "fp16"})
          .field("device", &TrainOptions::device, "auto, cpu, cuda or cuda:<n>")
          .field("graphs", &TrainOptions::graphs,
                 "on CUDA: record a step's passes once a size of batch and play them, where that "
                 "can be")
          .components("augment", &TrainOptions::augment, augment::augments,
                      "changes to what the model sees")
          .components("objectives", &TrainOptions::objectives, objective::objectives,
                      "terms of the loss; default: labels")
          .component("optimizer", &TrainOptions::optimizer, optim::optimizers,
                     "update rule; default: adamw with lr 5e-5")
          .component("schedule", &TrainOptions::schedule, optim::schedules,
                     "learning rate over time; default: linear to 0 without warm-up")
          .component("sharpness", &TrainOptions::sharpness, optim::movers, "sharpness-aware steps")
          .component("averaging", &TrainOptions::averaging, optim::averagings,
                     "averages of the weights")
          .field("clip", &TrainOptions::clip, "largest global norm of the gradient; 0 = off")
          .at_least(0)
          .components("pruning", &TrainOptions::pruning, constraint::pruning,
                      "which weights are zero")
          .field("quantization", &TrainOptions::quantization, "integer quantization-aware training")
          .field("evaluate", &TrainOptions::evaluate, "scoring on the validation part")
          .field("checkpoint", &TrainOptions::checkpoint, "saving for resuming")
          .field("length_window", &TrainOptions::length_window,
                 "batches whose rows are sorted by length together; 1 = plain shuffling")
          .range(1, 1e9)
          .field(
              "length_width", &TrainOptions::length_width,
              "tokens by which lengths may differ and yet sort as equal, so that rows keep their "
              "drawn order among nearly equal ones (DistilBERT's groups: 4)")
          .range(1, 100000)
          .field("seed", &TrainOptions::seed, "of this stage; default: the recipe's")
          .mark(&TrainOptions::mark)
          .check([](const TrainOptions& o, const recipe::Mark& mark, recipe::Problems& problems) {
            if (o.accumulate > o.batch)
              problems.add(mark, "accumulate is larger than batch",
                           "a batch is split into that many parts");
            if (o.teacher && !o.teachers.empty())
              problems.add(o.teacher->mark, "`teacher` beside `teachers`",
                           "name all of them under `teachers`");
            check_caches(o, problems);
          });
  return description;
}

std::vector<recipe::Named<recipe::Component>> teachers_of(const TrainOptions& options) {
  if (!options.teacher) return options.teachers;
  return {{teacher::only_teacher, options.teacher->mark, teacher::only(*options.teacher)}};
}

std::vector<std::string> teacher_names(const TrainOptions& options) {
  std::vector<std::string> names;
  for (const auto& teacher : teachers_of(options)) names.push_back(teacher.name);
  return names;
}

}  // namespace compress::train
