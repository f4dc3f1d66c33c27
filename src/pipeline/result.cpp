// What a run says at its end: result.json, result.md, the table on the terminal, and whether
// expectations held.

#include <cmath>

#include "compress/base/strings.h"
#include "stages.h"

namespace compress::pipeline {

namespace {

nn::Json metric_json(const std::vector<Metric>& metrics) {
  nn::Json list = nn::Json::array();
  for (const Metric& metric : metrics) {
    nn::Json entry = {{"name", metric.name}, {"value", metric.value}, {"n", metric.n}};
    if (!metric.of.empty()) entry["class"] = metric.of;
    if (!metric.note.empty()) entry["note"] = metric.note;
    list.push_back(entry);
  }
  return list;
}

std::vector<Metric> metrics_from(const nn::Json& list) {
  std::vector<Metric> metrics;
  for (const nn::Json& entry : list) {
    // A metric that was not finite is stored as null.
    double value = entry.at("value").is_number() ? entry.at("value").get<double>() : std::nan("");
    metrics.push_back({entry.at("name"), value, entry.at("n"), entry.value("note", ""),
                       entry.value("class", "")});
  }
  return metrics;
}

std::string percent(int64_t part, int64_t whole) {
  return whole == 0
             ? "-"
             : fixed(100.0 * static_cast<double>(part) / static_cast<double>(whole), 2) + "%";
}

std::string first_metric(const std::vector<Metric>& metrics) {
  return metrics.empty() ? "-" : title(metrics.front()) + " " + fixed(metrics.front().value, 4);
}

Table stage_table(const std::vector<StageResult>& stages) {
  Table table({"stage", "validation", "test", "parameters", "sparsity of encoder matrices",
               "of all", "weights on disk", "time"});
  for (const StageResult& stage : stages) {
    table.row({stage.name, first_metric(stage.validation), first_metric(stage.test),
               with_commas(stage.census.parameters),
               percent(stage.census.encoder_linear_zeros, stage.census.encoder_linear),
               percent(stage.census.zeros, stage.census.parameters),
               human_bytes(static_cast<double>(stage.bytes)),
               human_seconds(stage.seconds) + (stage.skipped ? " (earlier run)" : "")});
  }
  return table;
}

Table export_table(const std::vector<StageResult>& stages) {
  Table table({"export", "format", "weights on disk", "all files", "largest logit difference",
               "rows", "metric", "re-read"});
  for (const StageResult& stage : stages)
    for (const exports::Report& report : stage.exports)
      table.row({stage.name, report.format, human_bytes(static_cast<double>(report.weight_bytes)),
                 human_bytes(static_cast<double>(report.bytes)),
                 compress::str(report.largest_difference), compress::str(report.rows),
                 title(report.ours) + " " + fixed(report.ours.value, 4),
                 title(report.reread) + " " + fixed(report.reread.value, 4)});
  return table;
}

// 2x layers, 5x sparsity, 4x int8: what papers quote, on the encoder's matrices, beside the true
// bytes.
std::string size_text(const std::vector<StageResult>& stages) {
  const StageResult* first = nullptr;
  const StageResult* last = nullptr;
  for (const StageResult& stage : stages) {
    if (stage.kind != "train") continue;
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
  std::string text =
      compress::str("Size of the encoder's matrices, ", first->name, " to ", last->name, ": ",
                    fixed(layers, 1), "x fewer, ", fixed(sparsity, 1), "x sparser, ",
                    fixed(integer, 0), "x narrower: ", fixed(layers * sparsity * integer, 1),
                    "x nominal (no cost of indices counted). Weights on disk: ",
                    human_bytes(static_cast<double>(first->bytes)));
  for (const StageResult& stage : stages)
    for (const exports::Report& report : stage.exports)
      text += compress::str(
          ", ", report.format, " ", human_bytes(static_cast<double>(report.weight_bytes)), " (",
          fixed(static_cast<double>(first->bytes) /
                    static_cast<double>(std::max<int64_t>(report.weight_bytes, 1)),
                1),
          "x)");
  return text + ". Embeddings stay dense float32.\n";
}

std::string body(const RunResult& result, bool markdown) {
  auto render = [&](const Table& table) { return markdown ? table.markdown() : table.text(); };
  std::string text = render(stage_table(result.stages));
  Table exports = export_table(result.stages);
  if (!exports.empty()) text += "\n" + render(exports);
  std::string size = size_text(result.stages);
  if (!size.empty()) text += "\n" + size;
  if (!result.expectations.empty()) {
    text += markdown ? "\n## Expectations\n\n" : "\n";
    for (const Expectation& expectation : result.expectations)
      text += compress::str(markdown ? "- " : "", expectation.held ? "held    " : "MISSED  ",
                            expectation.text, "\n");
  }
  return text;
}

}  // namespace

nn::Json to_json(const StageResult& r) {
  nn::Json json = {{"name", r.name},
                   {"kind", r.kind},
                   {"identity", r.identity},
                   {"seconds", r.seconds},
                   {"samples_per_second", r.samples_per_second},
                   {"steps", r.steps},
                   {"best_step", r.best_step},
                   {"validation", metric_json(r.validation)},
                   {"test", metric_json(r.test)},
                   {"parameters", r.census.parameters},
                   {"zeros", r.census.zeros},
                   {"encoder_linear", r.census.encoder_linear},
                   {"encoder_linear_zeros", r.census.encoder_linear_zeros},
                   {"bytes", r.bytes},
                   {"quantized", r.quantized},
                   {"notes", r.notes},
                   {"exports", nn::Json::array()}};
  for (const exports::Report& e : r.exports)
    json["exports"].push_back({{"format", e.format},
                               {"folder", e.folder.string()},
                               {"bytes", e.bytes},
                               {"weight_bytes", e.weight_bytes},
                               {"largest_difference", e.largest_difference},
                               {"scale", e.scale},
                               {"rows", e.rows},
                               {"ours", metric_json({e.ours})},
                               {"reread", metric_json({e.reread})}});
  return json;
}

nn::Json record_json(const StageResult& r) {
  nn::Json json = to_json(r);
  json["inputs"] = r.inputs;
  json["made_from"] = r.made_from;
  json["files"] = nn::Json::array();
  for (const FileRecord& file : r.files)
    json["files"].push_back({{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  return json;
}

StageResult stage_from_json(const nn::Json& json) {
  StageResult r;
  r.name = json.at("name");
  r.kind = json.at("kind");
  r.identity = json.at("identity");
  r.inputs = json.value("inputs", "");
  r.made_from = json.value("made_from", std::map<std::string, std::string>());
  for (const nn::Json& file : json.value("files", nn::Json::array()))
    r.files.push_back({file.at("path"), file.at("bytes"), file.at("sha256")});
  r.seconds = json.at("seconds");
  r.samples_per_second = json.at("samples_per_second");
  r.steps = json.at("steps");
  r.best_step = json.at("best_step");
  r.validation = metrics_from(json.at("validation"));
  r.test = metrics_from(json.at("test"));
  r.census = {json.at("parameters"), json.at("zeros"), json.at("encoder_linear"),
              json.at("encoder_linear_zeros")};
  r.bytes = json.at("bytes");
  r.quantized = json.at("quantized");
  r.notes = json.at("notes").get<std::vector<std::string>>();
  for (const nn::Json& e : json.at("exports")) {
    exports::Report report;
    report.format = e.at("format");
    report.folder = e.at("folder").get<std::string>();
    report.bytes = e.at("bytes");
    report.weight_bytes = e.at("weight_bytes");
    report.largest_difference = e.at("largest_difference");
    report.scale = e.at("scale");
    report.rows = e.at("rows");
    report.ours = metrics_from(e.at("ours")).front();
    report.reread = metrics_from(e.at("reread")).front();
    r.exports.push_back(std::move(report));
  }
  return r;
}

nn::Json to_json(const RunResult& result, const Recipe& recipe) {
  nn::Json json = {{"name", result.name},           {"program", program_version()},
                   {"paper", recipe.options.paper}, {"seed", result.seed},
                   {"seconds", result.seconds},     {"held", result.held()},
                   {"stages", nn::Json::array()},   {"expectations", nn::Json::array()}};
  for (const StageResult& stage : result.stages) json["stages"].push_back(to_json(stage));
  for (const Expectation& e : result.expectations)
    json["expectations"].push_back(
        {{"text", e.text}, {"value", e.value}, {"bound", e.bound}, {"held", e.held}});
  return json;
}

const Metric* find_metric(const StageResult& result, const std::string& split,
                          const std::string& name) {
  for (const Metric& metric : split == "validation" ? result.validation : result.test)
    if (metric.name == name) return &metric;
  return nullptr;
}

std::vector<Expectation> judge(const std::vector<ExpectOptions>& expect,
                               const std::vector<StageResult>& stages) {
  auto value_of = [&](const std::string& stage, const ExpectOptions& options) {
    for (const StageResult& result : stages)
      if (result.name == stage)
        if (const Metric* metric = find_metric(result, options.split, options.metric))
          return metric->value;
    return std::nan("");  // compares false: a missing number does not hold
  };
  std::vector<Expectation> list;
  for (const ExpectOptions& options : expect) {
    const double value = value_of(options.stage, options);
    const double other = options.of.empty() ? std::nan("") : value_of(options.of, options);
    std::string name = compress::str(options.stage, " ", options.metric, " (", options.split, ") ",
                                     fixed(value, 4));
    auto add = [&](double bound, bool held, const std::string& relation) {
      list.push_back({options, value, bound, held, name + relation});
    };
    if (options.at_least)
      add(*options.at_least, value >= *options.at_least, " >= " + fixed(*options.at_least, 4));
    if (options.at_most)
      add(*options.at_most, value <= *options.at_most, " <= " + fixed(*options.at_most, 4));
    if (options.drop_at_most)
      add(other - *options.drop_at_most, value >= other - *options.drop_at_most,
          compress::str(" >= ", options.of, " ", fixed(other, 4), " - ",
                        shortest(*options.drop_at_most)));
    if (options.gain_at_least)
      add(other + *options.gain_at_least, value >= other + *options.gain_at_least,
          compress::str(" >= ", options.of, " ", fixed(other, 4), " + ",
                        shortest(*options.gain_at_least)));
  }
  return list;
}

bool RunResult::held() const {
  for (const Expectation& expectation : expectations)
    if (!expectation.held) return false;
  return true;
}

std::string result_text(const RunResult& result) {
  return body(result, false);
}

std::string result_markdown(const RunResult& result, const Recipe& recipe) {
  std::string text = "# " + result.name + "\n\n";
  if (!recipe.options.description.empty()) text += recipe.options.description + "\n\n";
  if (!recipe.options.paper.empty()) text += "Paper: " + recipe.options.paper + "\n\n";
  text += compress::str("Seed ", result.seed, ", ", program_version(), ", ",
                        human_seconds(result.seconds), " in all.\n\n");
  text += body(result, true);
  text += "\n## Notes\n\n";
  for (const StageResult& stage : result.stages)
    for (const std::string& note : stage.notes)
      text += compress::str("- ", stage.name, ": ", note, "\n");
  return text;
}

}  // namespace compress::pipeline
