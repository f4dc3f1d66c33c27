// What a stage reads of its teacher, and the teacher's answers kept instead of asked for again.

#include <chrono>

#include "compress/augment/augment.h"
#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/base/work_line.h"
#include "compress/objective/objective.h"
#include "materials/workbench.h"

namespace compress::pipeline {

namespace {

std::string augment_text(const train::TrainOptions& options) {
  return options.augment.empty() ? "" : recipe::to_yaml(recipe::write_components(options.augment));
}

// Tokens that logits over a vocabulary are of: those that both have.
int64_t shared_tokens(const nn::ModelConfig& student, const nn::ModelConfig& teacher) {
  return std::min(student.vocab_size, teacher.vocab_size);
}

teacher::Questions questions_for(const train::TrainOptions& options, const Prepared& prepared) {
  const nn::ModelConfig& taught = prepared.teacher->config();
  teacher::Questions questions;
  questions.split = prepared.job.data;
  questions.classes = prepared.student->config().outputs();
  questions.width = taught.hidden_size;
  questions.layers = taught.layers;
  questions.vocabulary = shared_tokens(prepared.student->config(), taught);
  questions.wanted = wanted_answers(options, *prepared.binding);
  if (!options.augment.empty())
    questions.pack = [split = prepared.job.data,
                      list = prepared.binding->roles().augments](std::span<const int64_t> rows) {
      data::Batch batch = data::pack(*split, rows);
      augment::apply_all(*list, batch, 0, 0);
      return batch;
    };
  return questions;
}

// On disk everything is kept, in memory logits alone; either way a row must be the same in every
// epoch.
bool can_be_remembered(const train::TrainOptions& options, const Prepared& prepared,
                       const teacher::Wanted& wanted) {
  for (const auto& augment : *prepared.binding->roles().augments)
    if (!augment->fixed()) return false;
  if (prepared.job.data->choices > 1) return false;
  const nn::Capture& seen = prepared.binding->needs().teacher->capture;
  const bool states = seen.hidden || seen.decoder_hidden || seen.any_attention() || seen.pooled ||
                      !seen.heads.empty();
  return options.teacher->cache ? !wanted.nothing() : wanted.logits && !states;
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

bool reads_teacher_logits(const train::TrainOptions& options) {
  for (const recipe::Component& component : options.objectives) {
    const roles::Needs needs = objective::make(component)->needs();
    if (needs.teacher && needs.teacher->logits) return true;
  }
  return false;
}

teacher::Wanted wanted_answers(const train::TrainOptions& options, const train::Binding& binding) {
  const std::optional<train::CacheOptions>& cache = options.teacher->cache;
  const nn::ModelConfig& student = binding.scene().student;
  const nn::ModelConfig& teacher = *binding.scene().teacher();
  if (cache)
    for (const auto& term : binding.roles().objectives) {
      const roles::Needs needs = term->needs();
      const std::string lacking = needs.teacher ? unkept(*needs.teacher, student) : "";
      if (!lacking.empty())
        throw Error(ErrorKind::recipe,
                    str("objective '", term->name(), "' reads the teacher's ", lacking,
                        ", which no cache keeps"),
                    term->mark().text(), "remove the teacher's `cache`, or use another objective");
    }
  const roles::Asked& asked = *binding.needs().teacher;
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
nn::Json Workbench::cache_key(const train::TrainOptions& options, const Prepared& prepared) {
  const train::Job& job = prepared.job;
  nn::Json key = {{"format", 2},  // raised when the program's forward pass changes
                  {"teacher", content_hash(folder_(options.teacher->from))},
                  {"data", data::source_hash(recipe_.dataset(options.data), "train")},
                  {"tokenizer", job.tokenizer->hash()},
                  {"labels", job.data->labels},
                  {"rows", job.rows},
                  {"augment", augment_text(options)},
                  {"precision", nn::precision_name(job.precision)},
                  {"device", job.device.is_cpu() ? "cpu" : "cuda"}};
  const nn::ModelConfig &student = prepared.student->config(),
                        &teacher = prepared.teacher->config();
  if (nn::predicts_tokens(teacher.head) && student.vocab_size < teacher.vocab_size)
    key["tokens"] = student.vocab_size;
  return key;
}

void Workbench::remember(const train::TrainOptions& options, Prepared& prepared) {
  const train::Job& job = prepared.job;
  const teacher::Questions questions = questions_for(options, prepared);
  if (!can_be_remembered(options, prepared, questions.wanted)) return;
  check_stop("stage '" + job.stage + "'");
  double seconds = 0;
  WorkLine progress(job.stage + "  teacher answers", job.rows);
  auto ask = [&](const teacher::Questions& asked, teacher::Range range) {
    if (processes_ == nullptr)
      check_stop("stage '" + job.stage + "'");  // else all would have to ask
    const auto started = std::chrono::steady_clock::now();
    teacher::Piece piece = teacher::answer(*prepared.teacher, asked, range);
    seconds += seconds_since(started);
    progress.update(range.end);
    return piece;
  };
  auto told = [&](const std::string& line) {
    log::info(job.stage + "  teacher " + line +
              (seconds > 0 ? ", answered in " + human_seconds(seconds) : ""));
  };
  std::shared_ptr<const teacher::Answers> answers;
  if (const auto& cache = options.teacher->cache) {
    auto open = [&](teacher::Missing missing) {
      answers = teacher::cached(cache->folder, cache_key(options, prepared), questions, missing,
                                ask, [&](const std::string& line) { told("cache: " + line); });
    };
    const bool refuse = cache->missing == "refuse";
    // The first of several processes fills the cache, and the others read what it wrote.
    parallel::first_only(
        processes_, [&] { open(refuse ? teacher::Missing::refuse : teacher::Missing::compute); });
    if (!answers) open(teacher::Missing::refuse);
  } else {
    std::shared_ptr<const teacher::Answers>& kept = remembered_[str(
        identity_(options.teacher->from), "/", options.data, "/", nn::precision_name(job.precision),
        "/", join(job.data->labels, ","), "/", augment_text(options))];
    if (!kept) {
      kept =
          std::make_shared<const teacher::Answers>(questions, ask_all(questions, processes_, ask));
      told(str("'", options.teacher->from, "': ", questions.wanted.text(), " of ",
               with_commas(job.rows), " rows kept in memory"));
    }
    answers = kept;
  }
  // From here on the teacher's weights are in nobody's way.
  prepared.teacher = teacher::remembered(prepared.teacher->config(), std::move(answers));
  prepared.teacher_quantization.reset();
}

}  // namespace compress::pipeline
