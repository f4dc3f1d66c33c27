// What a stage reads of its teacher, and the teacher's answers kept instead of asked for again.

#include <chrono>

#include "compress/augment/augment.h"
#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/base/work_line.h"
#include "compress/data/compose.h"
#include "compress/data/views.h"
#include "compress/objective/objective.h"
#include "materials/workbench.h"

namespace compress::pipeline {

namespace {

std::string augment_text(const train::TrainOptions& options) {
  return options.augment.empty() ? "" : recipe::to_yaml(recipe::write_components(options.augment));
}

// "" for the student's own rows.
std::string view_text(const train::TeacherOptions& options) {
  switch (options.reads()) {
    case teacher::View::own:
      return "own";
    case teacher::View::unmasked:
      return "unmasked";
    case teacher::View::student:
      break;
  }
  return {};
}

// Tokens that logits over a vocabulary are of: those that both have.
int64_t shared_tokens(const nn::ModelConfig& student, const nn::ModelConfig& teacher) {
  return std::min(student.vocab_size, teacher.vocab_size);
}

// The rows that it reads: those of its own view, where it has one.
const data::Split& rows_of(const Prepared& prepared, const Taught& taught) {
  for (const train::Given& given : prepared.job.given)
    if (given.name == taught.name && given.rows != nullptr) return *given.rows;
  return *prepared.job.data;
}

teacher::Questions questions_for(const train::TrainOptions& options, const Prepared& prepared,
                                 const Taught& taught) {
  const nn::ModelConfig& config = taught.teacher->config();
  teacher::Questions questions;
  questions.split = &rows_of(prepared, taught);
  questions.classes = prepared.student->config().outputs();
  questions.width = config.hidden_size;
  questions.layers = config.layers;
  questions.vocabulary = shared_tokens(prepared.student->config(), config);
  questions.wanted = wanted_answers(*taught.options, taught.name, *prepared.binding);
  const teacher::View view = taught.options->reads();
  if (!options.augment.empty() && view != teacher::View::own)
    questions.pack = [split = questions.split, list = prepared.binding->roles().augments,
                      view](std::span<const int64_t> rows) {
      const data::Batch before = data::pack(*split, rows);
      data::Batch batch = before;
      augment::apply_all(*list, batch, 0, 0);
      return view == teacher::View::unmasked ? data::before_changes(before, batch) : batch;
    };
  return questions;
}

// On disk everything is kept, in memory logits alone; either way a row must be the same in every
// epoch.
bool can_be_remembered(const Prepared& prepared, const Taught& taught,
                       const teacher::Wanted& wanted) {
  if (!taught.options->own_tokens())
    for (const auto& augment : *prepared.binding->roles().augments)
      if (!augment->fixed()) return false;
  if (prepared.job.data->choices > 1) return false;
  if (const data::Composer* composer = data::composer_of(*prepared.job.data))
    if (!composer->fixed() || !wanted.hidden.empty()) return false;
  const nn::Capture& seen = prepared.binding->needs().teachers.at(taught.name).capture;
  const bool states = seen.hidden || seen.decoder_hidden || seen.any_attention() || seen.pooled ||
                      !seen.heads.empty();
  return taught.options->cache ? !wanted.nothing() : wanted.logits && !states;
}

// The pieces of all ranges in memory, which hold logits alone. Several processes share the asking.
std::vector<teacher::Piece> ask_all(
    const teacher::Questions& questions, parallel::Processes* processes,
    const std::function<teacher::Piece(const teacher::Questions&, teacher::Range)>& ask) {
  const std::vector<teacher::Range> ranges = teacher::ranges(*questions.split);
  std::vector<teacher::Piece> pieces(ranges.size());
  if (processes == nullptr) {
    for (size_t i = 0; i < ranges.size(); ++i) pieces[i] = ask(questions, ranges[i]);
    return pieces;
  }
  torch::Tensor logits = torch::zeros({questions.split->rows(), questions.classes});
  for (size_t i = static_cast<size_t>(processes->rank()); i < ranges.size();
       i += static_cast<size_t>(processes->world()))
    logits.slice(0, ranges[i].begin, ranges[i].end).copy_(ask(questions, ranges[i]).logits);
  processes->sum(logits);  // of each row all but one process hold zeros
  for (size_t i = 0; i < ranges.size(); ++i)
    pieces[i].logits = logits.slice(0, ranges[i].begin, ranges[i].end);
  return pieces;
}

// Outputs that are neither one row a row of the split nor distributions over a vocabulary.
bool has_other_outputs(nn::HeadKind head) {
  const nn::Prediction& says = nn::prediction(head);
  return says.predicts() && says.over != nn::Prediction::Over::rows && !says.vocabulary;
}

// What an objective reads of the teacher that no cache keeps; "" when a cache keeps it all.
std::string unkept(const roles::Asked& asked, const nn::ModelConfig& student) {
  if (asked.logits && nn::predicts_tokens(student.head) && !asked.top_tokens)
    return "logits of the whole vocabulary";
  if (asked.logits && has_other_outputs(student.head))
    return str("outputs of a ", nn::head_name(student.head), " head");
  const nn::Capture& capture = asked.capture;
  if (!capture.heads.empty()) return "further heads";
  if (capture.any_attention()) return "attention scores";
  if (capture.decoder_hidden) return "states of two stacks";
  if (capture.hidden && student.head == nn::HeadKind::multiple_choice) return "states of choices";
  return {};
}

}  // namespace

std::vector<std::pair<std::string, const train::TeacherOptions*>> model_teachers(
    const train::TrainOptions& options) {
  if (options.teacher) return {{teacher::only_teacher, &*options.teacher}};
  std::vector<std::pair<std::string, const train::TeacherOptions*>> models;
  for (const auto& named : options.teachers)
    if (const train::TeacherOptions* model = teacher::model_of(named.value))
      models.emplace_back(named.name, model);
  return models;
}

bool reads_teacher_logits(const train::TrainOptions& options, const std::string& teacher) {
  const std::vector<std::string> names = train::teacher_names(options);
  for (const recipe::Component& component : options.objectives) {
    const std::unique_ptr<objective::Objective> term = objective::make(component);
    for (const auto& [unbound, asked] : term->needs().teachers)
      if (asked.logits && term->choose_teacher(names) == teacher) return true;
  }
  return false;
}

teacher::Wanted wanted_answers(const train::TeacherOptions& options, const std::string& name,
                               const train::Binding& binding) {
  const std::optional<train::CacheOptions>& cache = options.cache;
  const nn::ModelConfig& student = binding.scene().student;
  const nn::ModelConfig& teacher = *binding.scene().teacher(name);
  if (cache)
    for (const auto& term : binding.roles().objectives) {
      const roles::Needs needs = term->needs();
      const auto read = needs.teachers.find(name);
      const std::string lacking = read != needs.teachers.end() ? unkept(read->second, student) : "";
      if (!lacking.empty())
        throw Error(ErrorKind::recipe,
                    str("objective '", term->name(), "' reads the teacher's ", lacking,
                        ", which no cache keeps"),
                    term->mark().text(), "remove the teacher's `cache`, or use another objective");
    }
  const roles::Asked& asked = binding.needs().teachers.at(name);
  const bool of_tokens = nn::predicts_tokens(student.head);
  teacher::Wanted wanted;
  wanted.logits = asked.logits && !of_tokens && !has_other_outputs(student.head);
  wanted.pooled = asked.capture.pooled;
  wanted.hidden = asked.capture.hidden.below(teacher.layers + 1);
  if (cache && cache->hidden == "all" && !wanted.hidden.empty())
    wanted.hidden = nn::Layers(true).below(teacher.layers + 1);
  if (asked.logits && of_tokens)
    wanted.top_k = std::min(cache ? cache->top_k : train::CacheOptions().top_k,
                            shared_tokens(student, teacher) - 1);
  return wanted;
}

// Everything that a teacher's answers are a function of.
nn::Json Workbench::cache_key(const train::TrainOptions& options, const Prepared& prepared,
                              const Taught& taught) {
  const train::Job& job = prepared.job;
  nn::Json key = {
      {"format", 2},  // raised when the program's forward pass changes
      {"teacher", content_hash(folder_(taught.options->from))},
      {"data", options.data.mixture ? job.data->content_hash
                                    : data::source_hash(recipe_.dataset(options.data), "train")},
      {"tokenizer", tokenizer(taught.tokenizer).hash()},
      {"labels", job.data->labels},
      {"rows", job.data->rows()},
      {"augment", augment_text(options)},
      {"precision", nn::precision_name(job.precision)},
      {"device", job.device.is_cpu() ? "cpu" : "cuda"}};
  const nn::ModelConfig &student = prepared.student->config(), &teacher = taught.teacher->config();
  if (taught.options->reads() != teacher::View::student) key["view"] = view_text(*taught.options);
  if (nn::predicts_tokens(teacher.head) && student.vocab_size < teacher.vocab_size)
    key["tokens"] = student.vocab_size;
  return key;
}

void Workbench::remember(const train::TrainOptions& options, Prepared& prepared, Taught& taught) {
  const train::Job& job = prepared.job;
  const train::TeacherOptions& how = *taught.options;
  const teacher::Questions questions = questions_for(options, prepared, taught);
  if (!can_be_remembered(prepared, taught, questions.wanted)) return;
  check_stop("stage '" + job.stage + "'");
  double seconds = 0;
  WorkLine progress(job.stage + "  teacher answers", job.data->rows());
  auto ask = [&](const teacher::Questions& asked, teacher::Range range) {
    if (processes_ == nullptr)
      check_stop("stage '" + job.stage + "'");  // else all would have to ask
    const auto started = std::chrono::steady_clock::now();
    teacher::Piece piece = teacher::answer(*taught.teacher, asked, range);
    seconds += seconds_since(started);
    progress.update(range.end);
    return piece;
  };
  auto told = [&](const std::string& line) {
    log::info(job.stage + "  teacher " + line +
              (seconds > 0 ? ", answered in " + human_seconds(seconds) : ""));
  };
  std::shared_ptr<const teacher::Answers> answers;
  if (const auto& cache = how.cache) {
    auto open = [&](teacher::Missing missing) {
      answers =
          teacher::cached(cache->folder, cache_key(options, prepared, taught), questions, missing,
                          ask, [&](const std::string& line) { told("cache: " + line); });
    };
    const bool refuse = cache->missing == "refuse";
    // The first of several processes fills the cache, and the others read what it wrote.
    parallel::first_only(
        processes_, [&] { open(refuse ? teacher::Missing::refuse : teacher::Missing::compute); });
    if (!answers) open(teacher::Missing::refuse);
  } else {
    std::shared_ptr<const teacher::Answers>& kept = remembered_[str(
        identity_(how.from), "/", options.data.mixture ? job.data->content_hash : options.data.name,
        "/", nn::precision_name(job.precision), "/", join(job.data->labels, ","), "/",
        augment_text(options), view_text(how))];
    if (!kept) {
      kept =
          std::make_shared<const teacher::Answers>(questions, ask_all(questions, processes_, ask));
      told(str("'", how.from, "': ", questions.wanted.text(), " of ", with_commas(job.data->rows()),
               " rows kept in memory"));
    }
    answers = kept;
  }
  // From here on the teacher's weights are in nobody's way.
  taught.teacher = teacher::remembered(taught.teacher->config(), std::move(answers));
  taught.teacher->called(taught.name, how.mark);
  taught.quantization.reset();
}

}  // namespace compress::pipeline
