// `compress evaluate`: scores a model folder on a data file.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/log.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/cli/commands.h"
#include "compress/data/passages.h"
#include "compress/data/submission.h"
#include "compress/eval/evaluate.h"
#include "compress/eval/kept.h"
#include "compress/eval/metric.h"
#include "compress/export/export.h"
#include "compress/generate/texts.h"
#include "compress/train/train.h"
#include "shared/data_flags.h"
#include "shared/numbers.h"
#include "shared/session.h"

namespace compress::cli {

namespace {

struct EvaluateFlags {
  std::string model, head, submission;
  DataFlags data;
  std::vector<std::string> metrics;
  int64_t batch = 64, warm_up = 0;
  std::string precision = "float32", device = "auto", predictions, answers, null_odds;
  generate::WritingOptions writing;
  double null_threshold = 0;
  bool json = false;
};

void check_names(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (!eval::is_metric(name))
      throw Error(ErrorKind::recipe, "unknown metric '" + name + "'", "--metrics",
                  suggestion(name, metric_names(), "metrics"));
}

void check_head(const nn::ModelConfig& config, const std::string& folder, bool pairs) {
  if (!nn::prediction(config.head).predicts() && !pairs)
    throw Error(
        ErrorKind::model,
        str("the model has the head '", nn::head_name(config.head), "', which has no score"),
        folder,
        "train a stage with a head that predicts (classification, causal_lm, ...) on it first");
  eval::check_task(config, folder);
}

// Numbers that JSON lacks become null.
nn::Json number(double value) {
  return std::isfinite(value) ? nn::Json(value) : nn::Json(nullptr);
}

// Milliseconds of a forward pass: order statistics over the batches.
nn::Json forward_times(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  auto at = [&](double share) {
    return 1000 * seconds[static_cast<size_t>(share * static_cast<double>(seconds.size() - 1))];
  };
  const size_t half = seconds.size() / 2;
  const double median =
      seconds.size() % 2 == 1 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
  return {{"batches", seconds.size()},
          {"median_ms", 1000 * median},
          {"min_ms", at(0)},
          {"p90_ms", at(0.9)},
          {"max_ms", at(1)}};
}

std::string as_json(const EvaluateFlags& flags, const data::Split& split,
                    const eval::Evaluation& found) {
  nn::Json json = {{"model", flags.model},
                   {"data", split.file.string()},
                   {"rows", found.rows},
                   {"metrics", nn::Json::array()}};
  if (split.skipped > 0) json["rows_left_out"] = split.skipped;
  for (const Metric& metric : found.metrics) {
    nn::Json entry = {{"name", metric.name}, {"value", number(metric.value)}, {"n", metric.n}};
    if (!metric.of.empty()) entry["class"] = metric.of;
    if (!metric.note.empty()) entry["note"] = metric.note;
    if (!metric.signature.empty()) entry["signature"] = metric.signature;
    json["metrics"].push_back(std::move(entry));
  }
  json["loss"] = number(found.loss);
  json["seconds"] = found.seconds;
  json["samples_per_second"] = number(static_cast<double>(found.rows) / found.seconds);
  if (!found.forward_seconds.empty()) {
    json["forward"] = forward_times(found.forward_seconds);
    const int64_t rows = std::min(flags.batch, found.rows);
    double total = 0;
    for (double seconds : found.forward_seconds) total += seconds;
    json["forward"]["rows_a_batch"] = rows;
    json["forward"]["samples_per_second"] =
        static_cast<double>(rows) * static_cast<double>(found.forward_seconds.size()) / total;
  }
  // Paths may hold bytes that are not UTF-8: they must not end the program.
  return json.dump(2, ' ', false, nn::Json::error_handler_t::replace) + "\n";
}

std::string left_out(const data::Split& split) {
  return split.skipped == 0 ? "" : ", rows left out: " + with_commas(split.skipped);
}

std::string as_text(const data::Split& split, const eval::Evaluation& found) {
  Table table({"metric", "value", "n", "note"});
  for (const Metric& metric : found.metrics)
    table.row({title(metric), fixed(metric.value, 4), str(metric.n),
               metric.signature + (metric.signature.empty() || metric.note.empty() ? "" : "; ") +
                   metric.note});
  table.row({"loss", fixed(found.loss, 4), str(found.rows), ""});
  return table.text() + str("\n", split.file.string(), ": ", with_commas(found.rows), " rows in ",
                            fixed(found.seconds, 2), " s, ",
                            fixed(static_cast<double>(found.rows) / found.seconds, 0), " samples/s",
                            left_out(split), "\n");
}

// Answers the rows without labels, and writes what their benchmark's server wants.
void submit(const EvaluateFlags& flags, const nn::ModelConfig& scored, nn::Model& model,
            eval::EvaluateOptions how) {
  const data::DatasetOptions set = flags.data.chosen(scored), rows = data::rows_to_submit(set);
  const std::vector<std::string> ids = data::ids_to_submit(set);
  const data::Split split = data::load_split(rows, "test", *how.tokenizer);
  how.metrics = {scored.head == nn::HeadKind::regression ? "mse" : "accuracy"};  // of no labels
  how.progress = "submission";
  const eval::Evaluation found = eval::evaluate(model, split, how);
  std::vector<std::string> predictions;
  for (const double value : found.predictions.values)
    predictions.push_back(data::submitted(*set.submission, value));
  for (const int64_t chosen : found.predictions.classes)
    predictions.push_back(split.labels[static_cast<size_t>(chosen)]);
  const std::filesystem::path folder = flags.submission;
  const std::string name = set.submission->as.empty() ? "submission.tsv" : set.submission->as;
  if (!parallel::is_first(how.processes)) return;
  make_folder(folder);
  write_file(folder / name,
             data::submission_text(set, ids, predictions, found.predictions.ranked.scores));
  print(str((folder / name).string(), ": ", with_commas(found.rows), " predictions\n"));
}

// What --predictions, --answers and --null-odds ask for.
void keep(const EvaluateFlags& flags, const data::Split& split, const eval::Evaluation& found) {
  if (!flags.predictions.empty() && !eval::write_predictions(flags.predictions, split, found))
    throw Error(ErrorKind::recipe, "this task has no predictions to keep", "--predictions");
  if (flags.answers.empty()) return;
  if (found.predictions.answers.questions() == 0)
    throw Error(ErrorKind::recipe, "this task has no answers", "--answers",
                "they are those of a span head");
  eval::write_answers(flags.answers, flags.null_odds, found.predictions);
}

// Error{recipe} where what is to be written lies where the model or the data are read from.
void check_written(const EvaluateFlags& flags, const data::DatasetOptions& set) {
  namespace fs = std::filesystem;
  std::vector<fs::path> read{flags.model, flags.data.recipe};
  for (const data::Origin* part : {&set.train, &set.validation, &set.test})
    if (!part->file.empty())
      for (fs::path& file : data::files_behind(part->file)) read.push_back(std::move(file));
  std::error_code ignored;
  for (const auto& [flag, name] : {std::pair{"--predictions", &flags.predictions},
                                   {"--answers", &flags.answers},
                                   {"--null-odds", &flags.null_odds}}) {
    if (name->empty()) continue;
    const bool of_model = fs::is_directory(flags.model, ignored) &&
                          fs::equivalent(fs::absolute(*name).parent_path(), flags.model, ignored);
    if (of_model || std::any_of(read.begin(), read.end(), [&](const fs::path& one) {
          return fs::equivalent(*name, one, ignored) && fs::is_regular_file(one);
        }))
      throw Error(ErrorKind::recipe,
                  of_model ? "would be written into the model's folder"
                           : "would be written over a file that is read",
                  str(flag, " ", *name), "name another file");
  }
}

int evaluate_with(const EvaluateFlags& flags, parallel::Processes* processes) {
  if (!flags.data.given())
    throw Error(ErrorKind::recipe, "no data was named", {},
                "give --data FILE, or --recipe RECIPE --dataset NAME");
  check_names(flags.metrics);
  const torch::Device device = train::resolve_device(flags.device, processes, "--device");
  exports::LoadedModel loaded = exports::load(flags.model);
  const nn::ModelConfig scored =
      with_place("--head", [&] { return nn::with_head(loaded.model->config(), flags.head); });
  const data::DatasetOptions set = flags.data.chosen(scored);
  check_head(scored, flags.model, data::task_of(set) == data::Task::similarity);
  check_written(flags, set);
  std::unique_ptr<text::Tokenizer> tokenizer = checkpoint::load_tokenizer(flags.model);
  if (const std::string gap = checkpoint::missing_rows(*tokenizer, loaded.model->config());
      !gap.empty())
    log::warn(flags.model + ": " + gap);
  loaded.model->to(device);
  eval::EvaluateOptions how;
  how.head = flags.head;
  how.batch = flags.batch;
  how.precision = train::resolve_precision(flags.precision, device);
  how.tokenizer = tokenizer.get();
  how.processes = processes;
  if (!flags.submission.empty()) {
    submit(flags, scored, *loaded.model, how);
    return 0;
  }
  const data::Split split = flags.data.load(scored, *tokenizer);
  with_place("--metrics", [&] {
    eval::check_metrics(flags.metrics, scored, !split.positive.empty(), !split.groups.empty(),
                        split.answers, split.task, data::has_candidates(split));
  });
  how.metrics = flags.metrics;
  how.warm_up = flags.warm_up;
  how.progress = "evaluate  " + split.name;
  how.null_threshold = flags.null_threshold;
  if (eval::need_texts(flags.metrics, scored))
    how.write = generate::writer(flags.model, scored, *tokenizer, how.precision,
                                 flags.data.longest_target(), flags.writing);
  const eval::Evaluation found = eval::evaluate(*loaded.model, split, how);
  if (!parallel::is_first(processes)) return 0;
  keep(flags, split, found);
  print(flags.json ? as_json(flags, split, found) : as_text(split, found));
  return 0;
}

int evaluate(const EvaluateFlags& flags) {
  return with_processes(
      [&](parallel::Processes* processes) { return evaluate_with(flags, processes); });
}

}  // namespace

void add_evaluate(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvaluateFlags>();
  CLI::App* sub = app.add_subcommand("evaluate", "Scores a model folder on a data file");
  sub->add_option("MODEL", flags->model,
                  "Folder in Hugging Face's layout or of a stage, or a GGUF file")
      ->required();
  flags->data.add_to(*sub);
  sub->add_option("--metrics", flags->metrics, "Comma-separated; default: those of the task")
      ->delimiter(',')
      ->allow_extra_args(false);
  sub->add_option("--head", flags->head,
                  "The head that is scored, of a model with several, or mean; default: its own")
      ->type_name("NAME");
  sub->add_option("--batch", flags->batch, "Rows a batch")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  sub->add_option("--warm-up", flags->warm_up, "Batches that run before anything is timed")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  sub->add_option("--precision", flags->precision, "auto, float32 or bf16")
      ->check(CLI::IsMember({"auto", "float32", "bf16", "fp16"}))
      ->capture_default_str();
  sub->add_option("--device", flags->device, "auto, cpu, cuda or cuda:<n>")->capture_default_str();
  sub->add_option("--submission", flags->submission,
                  "Answers the data set's rows without labels instead, in a file in this folder")
      ->type_name("DIR");
  sub->add_option("--predictions", flags->predictions, "Keeps what is said of each row in a file")
      ->type_name("FILE");
  CLI::Option* answers = sub->add_option("--answers", flags->answers,
                                         "Keeps answers in a file as SQuAD's script reads them")
                             ->type_name("FILE");
  sub->add_option("--null-odds", flags->null_odds, "Keeps how much no answer is above the best one")
      ->type_name("FILE")
      ->needs(answers);
  sub->add_option("--null-threshold", flags->null_threshold,
                  "No answer where its score is more than this above the best answer's; default: 0")
      ->check(number_between(-1e6, 1e6));
  using W = generate::WritingOptions;
  sub->add_option("--max-new-tokens", flags->writing.max_new_tokens, W::docs[0])
      ->check(CLI::Range(1, 100000));
  sub->add_option("--num-beams", flags->writing.num_beams, W::docs[1])->check(CLI::Range(1, 1000));
  sub->add_option("--no-repeat-ngram-size", flags->writing.no_repeat_ngram, W::docs[2])
      ->check(CLI::Range(0, 1000));
  sub->add_option("--length-penalty", flags->writing.length_penalty, W::docs[3]);
  sub->add_flag("--json", flags->json, "As JSON");
  sub->footer(
      "Example: compress evaluate runs/quickstart/stages/student/model --data data/movies/test.tsv "
      "--text sentence");
  sub->callback([flags, &action] { action = [flags] { return evaluate(*flags); }; });
}

}  // namespace compress::cli
