// What a stage reads of its teacher, and the teacher's answers kept instead of asked for again.

#include <chrono>
#include <set>

#include "compress/augment/augment.h"
#include "compress/base/clock.h"
#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/base/work_line.h"
#include "compress/objective/objective.h"
#include "workbench.h"

namespace compress::pipeline {

namespace {

using Augments = std::vector<std::unique_ptr<augment::Augment>>;

std::shared_ptr<const Augments> augments_of(const train::TrainOptions& options,
                                            const text::Tokenizer& tokenizer, int64_t vocabulary) {
  auto list = std::make_shared<Augments>();
  for (const recipe::Component& component : options.augment) {
    list->push_back(augment::make(component));
    list->back()->bind(tokenizer, vocabulary);
  }
  return list;
}

std::string augment_text(const train::TrainOptions& options) {
  return options.augment.empty() ? "" : recipe::to_yaml(recipe::write_components(options.augment));
}

// The teacher's layers that one objective reads.
std::vector<int64_t> layers_read(objective::Objective& term, const nn::ModelConfig& student,
                                 const nn::ModelConfig& teacher) {
  if (!term.needs_teacher() || !term.captures().hidden) return {};
  nn::ParamTable unused;
  term.bind(student, &teacher, unused, 0);
  std::vector<int64_t> layers = term.teacher_layers();
  if (layers.empty())  // it does not tell
    for (int64_t layer = 0; layer <= teacher.layers; ++layer) layers.push_back(layer);
  return layers;
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
  questions.wanted = wanted_answers(options, prepared.student->config(), taught);
  if (!options.augment.empty())
    questions.pack =
        [split = prepared.job.data,
         list = augments_of(options, *prepared.job.tokenizer,
                            std::min(prepared.student->config().vocab_size, taught.vocab_size))](
            std::span<const int64_t> rows) {
          data::Batch batch = data::pack(*split, rows);
          augment::apply_all(*list, batch, 0, 0);
          return batch;
        };
  return questions;
}

// On disk everything is kept, in memory logits alone; either way a row must be the same in every
// epoch.
bool can_be_remembered(const train::TrainOptions& options, const data::Split& split,
                       const teacher::Wanted& wanted) {
  for (const recipe::Component& component : options.augment)
    if (!augment::make(component)->fixed()) return false;
  if (split.choices > 1) return false;
  const nn::Capture seen = teacher_use(options).captures;
  const bool logits_alone = wanted.logits && !seen.hidden && !seen.attention && !seen.pooled;
  return options.teacher->cache ? !wanted.nothing() : logits_alone;
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
  return head == nn::HeadKind::token_classification || head == nn::HeadKind::span ||
         head == nn::HeadKind::multiple_choice || head == nn::HeadKind::replaced_token;
}

// What an objective reads of the teacher that no cache keeps; "" when a cache keeps it all.
std::string unkept(objective::Objective& term, const nn::ModelConfig& student,
                   const nn::ModelConfig& teacher) {
  const nn::Capture captures = term.captures();
  const bool reads_logits = term.needs_teacher() && term.needs_teacher_logits();
  if (reads_logits && nn::predicts_tokens(student.head) && !term.takes_top_tokens())
    return "logits of the whole vocabulary";
  if (reads_logits && has_other_outputs(student.head))
    return compress::str("outputs of a ", nn::head_name(student.head), " head");
  if (captures.attention) return "attention scores";
  if (captures.hidden && teacher.encoder_decoder()) return "states of two stacks";
  if (captures.hidden && student.head == nn::HeadKind::multiple_choice) return "states of choices";
  return {};
}

}  // namespace

TeacherUse teacher_use(const train::TrainOptions& options) {
  TeacherUse use;
  for (const recipe::Component& component : options.objectives) {
    std::unique_ptr<objective::Objective> term = objective::make(component);
    if (!term->needs_teacher()) continue;
    use.captures = use.captures | term->captures();
    use.logits = use.logits || term->needs_teacher_logits();
  }
  return use;
}

teacher::Wanted wanted_answers(const train::TrainOptions& options, const nn::ModelConfig& student,
                               const nn::ModelConfig& teacher) {
  const std::optional<train::CacheOptions>& cache = options.teacher->cache;
  teacher::Wanted wanted;
  std::set<int64_t> layers;
  for (const recipe::Component& component : options.objectives) {
    std::unique_ptr<objective::Objective> term = objective::make(component);
    const bool reads_logits = term->needs_teacher() && term->needs_teacher_logits();
    const bool of_tokens = nn::predicts_tokens(student.head);
    wanted.logits =
        wanted.logits || (reads_logits && !of_tokens && !has_other_outputs(student.head));
    wanted.pooled = wanted.pooled || (term->needs_teacher() && term->captures().pooled);
    for (int64_t layer : layers_read(*term, student, teacher)) layers.insert(layer);
    if (reads_logits && of_tokens)
      wanted.top_k = std::min(cache ? cache->top_k : train::CacheOptions().top_k,
                              shared_tokens(student, teacher) - 1);
    const std::string lacking = unkept(*term, student, teacher);
    if (cache && term->needs_teacher() && !lacking.empty())
      throw Error(ErrorKind::recipe,
                  compress::str("objective '", term->name(), "' reads the teacher's ", lacking,
                                ", which no cache keeps"),
                  component.mark.text(), "remove the teacher's `cache`, or use another objective");
  }
  if (cache && cache->hidden == "all" && !layers.empty())
    for (int64_t layer = 0; layer <= teacher.layers; ++layer) layers.insert(layer);
  wanted.hidden.assign(layers.begin(), layers.end());
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
  if (!can_be_remembered(options, *job.data, questions.wanted)) return;
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
    std::shared_ptr<const teacher::Answers>& kept = remembered_[compress::str(
        identity_(options.teacher->from), "/", options.data, "/", nn::precision_name(job.precision),
        "/", join(job.data->labels, ","), "/", augment_text(options))];
    if (!kept) {
      kept =
          std::make_shared<const teacher::Answers>(questions, ask_all(questions, processes_, ask));
      told(compress::str("'", options.teacher->from, "': ", questions.wanted.text(), " of ",
                         with_commas(job.rows), " rows kept in memory"));
    }
    answers = kept;
  }
  // From here on the teacher's weights are in nobody's way.
  prepared.teacher = teacher::remembered(prepared.teacher->config(), std::move(answers));
  prepared.teacher_quantization.reset();
}

}  // namespace compress::pipeline
