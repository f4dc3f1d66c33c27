// What a run says at its end: result.md and the table on the terminal.

#include "compress/base/strings.h"
#include "compress/nn/pattern.h"
#include "compress/pipeline/run.h"
#include "report/waterfall.h"

namespace compress::pipeline {

namespace {

std::string percent(int64_t part, int64_t whole) {
  return whole == 0
             ? "-"
             : fixed(100.0 * static_cast<double>(part) / static_cast<double>(whole), 2) + "%";
}

std::string first_metric(const std::vector<Metric>& metrics) {
  return metrics.empty() ? "-" : title(metrics.front()) + " " + fixed(metrics.front().value, 4);
}

// "80.00%", "80.00%, blocks of 1x4": what rounding leaves beside a pattern is left to inspect, and
// zeros in none are nothing to tell.
std::string sparsity_text(const StageResult& stage) {
  const std::string part = percent(stage.census.encoder_linear_zeros, stage.census.encoder_linear);
  const std::string& pattern = stage.pattern;
  return pattern.empty() || pattern == nn::single_zeros
             ? part
             : part + ", " + pattern.substr(0, pattern.find(','));
}

Table stage_table(const std::vector<StageResult>& stages) {
  Table table({"stage", "validation", "test", "parameters", "sparsity of encoder matrices",
               "of all", "weights on disk", "time"});
  for (const StageResult& stage : stages) {
    table.row({stage.name, first_metric(stage.validation), first_metric(stage.test),
               with_commas(stage.census.parameters), sparsity_text(stage),
               percent(stage.census.zeros, stage.census.parameters),
               human_bytes(static_cast<double>(stage.bytes)),
               human_seconds(stage.seconds) + (stage.skipped ? " (earlier run)" : "")});
  }
  return table;
}

Table export_table(const std::vector<StageResult>& stages) {
  Table table({"export", "format", "weights on disk", "under zstd", "all files",
               "largest logit difference", "rows", "metric", "re-read"});
  for (const StageResult& stage : stages)
    for (const exports::Report& report : stage.exports)
      table.row({stage.name, report.format, human_bytes(static_cast<double>(report.weight_bytes)),
                 report.zstd_bytes > 0 ? human_bytes(static_cast<double>(report.zstd_bytes)) : "-",
                 human_bytes(static_cast<double>(report.bytes)), str(report.largest_difference),
                 str(report.rows), title(report.ours) + " " + fixed(report.ours.value, 4),
                 title(report.reread) + " " + fixed(report.reread.value, 4)});
  return table;
}

// 2x layers, 5x sparsity, 4x int8: what papers quote, on the encoder's matrices, beside the true
// bytes.
std::string size_text(const std::vector<StageResult>& stages) {
  const StageResult* first = nullptr;
  const StageResult* last = nullptr;
  for (const StageResult& stage : stages) {
    if (stage.steps == 0) continue;  // it trained nothing
    if (first == nullptr) first = &stage;
    last = &stage;
  }
  if (first == nullptr || last == first || last->census.encoder_linear == 0) return {};
  double layers = static_cast<double>(first->census.encoder_linear) /
                  static_cast<double>(last->census.encoder_linear);
  double kept =
      static_cast<double>(last->census.encoder_linear - last->census.encoder_linear_zeros);
  double sparsity = kept > 0 ? static_cast<double>(last->census.encoder_linear) / kept : 1;
  double integer = last->quantized ? 4 : 1;
  std::string text = str("Size of the encoder's matrices, ", first->name, " to ", last->name, ": ",
                         fixed(layers, 1), "x fewer, ", fixed(sparsity, 1), "x sparser, ",
                         fixed(integer, 0), "x narrower: ", fixed(layers * sparsity * integer, 1),
                         "x nominal (no cost of indices counted). Weights on disk: ",
                         human_bytes(static_cast<double>(first->bytes)));
  for (const StageResult& stage : stages)
    for (const exports::Report& report : stage.exports)
      text +=
          str(", ", report.format, " ", human_bytes(static_cast<double>(report.weight_bytes)), " (",
              fixed(static_cast<double>(first->bytes) /
                        static_cast<double>(std::max<int64_t>(report.weight_bytes, 1)),
                    1),
              "x)");
  return text + (last->embeddings.empty()
                     ? ". Embeddings stay dense float32.\n"
                     : str(". Embeddings are ", last->embeddings, ", not counted above.\n"));
}

std::string body(const RunResult& result, bool markdown) {
  auto render = [&](const Table& table) { return markdown ? table.markdown() : table.text(); };
  std::string text = render(stage_table(result.stages));
  Table exports = export_table(result.stages);
  if (!exports.empty()) text += "\n" + render(exports);
  std::string size = size_text(result.stages);
  if (!size.empty()) text += "\n" + size;
  if (Table bytes = waterfall(result.stages); !bytes.empty()) text += "\n" + render(bytes);
  if (!result.expectations.empty()) {
    text += markdown ? "\n## Expectations\n\n" : "\n";
    for (const Expectation& expectation : result.expectations)
      text += str(markdown ? "- " : "", expectation.verdict(), expectation.text, "\n");
  }
  return text;
}

}  // namespace

std::string result_text(const RunResult& result) {
  return body(result, false);
}

std::string result_markdown(const RunResult& result, const Recipe& recipe) {
  std::string text = "# " + result.name + "\n\n";
  if (!recipe.options.description.empty()) text += recipe.options.description + "\n\n";
  if (const std::string paper = recipe.options.paper.text(); !paper.empty())
    text += "Paper: " + paper + "\n\n";
  text += str("Seed ", result.seed, ", ", program_version(), ", ", human_seconds(result.seconds),
              " in all.\n\n");
  text += body(result, true);
  text += "\n## Notes\n\n";
  for (const StageResult& stage : result.stages)
    for (const std::string& note : stage.notes) text += str("- ", stage.name, ": ", note, "\n");
  return text;
}

}  // namespace compress::pipeline
