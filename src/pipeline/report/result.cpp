// Results as JSON.

#include "report/result.h"

#include <cmath>

#include "compress/nn/pattern.h"
#include "report/waterfall.h"

namespace compress::pipeline {

namespace {

nn::Json metric_json(const std::vector<Metric>& metrics) {
  nn::Json list = nn::Json::array();
  for (const Metric& metric : metrics) {
    nn::Json entry = {{"name", metric.name}, {"value", metric.value}, {"n", metric.n}};
    if (!metric.of.empty()) entry["class"] = metric.of;
    if (!metric.note.empty()) entry["note"] = metric.note;
    if (!metric.signature.empty()) entry["signature"] = metric.signature;
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
                       entry.value("class", ""), entry.value("signature", "")});
  }
  return metrics;
}

}  // namespace

void StageResult::count(const nn::Model& model) {
  census = nn::census(model);
  tables = size_of(model).tables;
  pattern = census.encoder_linear_zeros > 0 ? nn::zeros_text(model) : "";
}

nn::Json to_json(const StageResult& r) {
  nn::Json json = {{"name", r.name},
                   {"kind", r.kind},
                   {"identity", r.identity},
                   {"seconds", r.seconds},
                   {"samples_per_second", r.samples_per_second},
                   {"cpu_seconds", r.cpu_seconds},
                   {"steps", r.steps},
                   {"best_step", r.best_step},
                   {"validation", metric_json(r.validation)},
                   {"test", metric_json(r.test)},
                   {"parameters", r.census.parameters},
                   {"zeros", r.census.zeros},
                   {"encoder_linear", r.census.encoder_linear},
                   {"encoder_linear_zeros", r.census.encoder_linear_zeros},
                   {"tables", r.tables},
                   {"bytes", r.bytes},
                   {"quantized", r.quantized},
                   {"notes", r.notes},
                   {"exports", nn::Json::array()}};
  if (r.begun.parameters > 0)
    json["begun"] = {{"parameters", r.begun.parameters}, {"tables", r.begun.tables}};
  if (!r.pattern.empty()) json["zero_pattern"] = r.pattern;
  if (!r.embeddings.empty()) json["embeddings"] = r.embeddings;
  if (!r.numbers.is_null()) json["numbers"] = r.numbers;
  for (const exports::Report& e : r.exports)
    json["exports"].push_back({{"format", e.format},
                               {"folder", e.folder.string()},
                               {"bytes", e.bytes},
                               {"weight_bytes", e.weight_bytes},
                               {"zstd_bytes", e.zstd_bytes},
                               {"rest", e.rest},
                               {"saved",
                                {{"zeros", e.savings.zeros},
                                 {"layers", e.savings.layers},
                                 {"tables", e.savings.tables},
                                 {"rest", e.savings.rest}}},
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
  r.cpu_seconds = json.value("cpu_seconds", 0.0);
  r.steps = json.at("steps");
  r.best_step = json.at("best_step");
  r.validation = metrics_from(json.at("validation"));
  r.test = metrics_from(json.at("test"));
  r.census = {json.at("parameters"), json.at("zeros"), json.at("encoder_linear"),
              json.at("encoder_linear_zeros")};
  r.tables = json.value("tables", int64_t{0});
  r.pattern = json.value("zero_pattern", "");
  if (json.contains("begun"))
    r.begun = {json["begun"].at("parameters"), json["begun"].at("tables")};
  r.bytes = json.at("bytes");
  r.quantized = json.at("quantized");
  r.embeddings = json.value("embeddings", "");
  r.notes = json.at("notes").get<std::vector<std::string>>();
  if (json.contains("numbers")) r.numbers = json.at("numbers");
  for (const nn::Json& e : json.at("exports")) {
    exports::Report report;
    report.format = e.at("format");
    report.folder = e.at("folder").get<std::string>();
    report.bytes = e.at("bytes");
    report.weight_bytes = e.at("weight_bytes");
    report.zstd_bytes = e.value("zstd_bytes", int64_t{0});
    report.rest = e.value("rest", report.rest);
    if (e.contains("saved")) {
      const nn::Json& saved = e["saved"];
      report.savings = {saved.at("zeros"), saved.at("layers"), saved.at("tables"),
                        saved.at("rest")};
    }
    report.largest_difference = e.at("largest_difference");
    report.scale = e.at("scale");
    report.rows = e.at("rows");
    report.ours = metrics_from(e.at("ours")).front();
    report.reread = metrics_from(e.at("reread")).front();
    r.exports.push_back(std::move(report));
  }
  return r;
}

nn::Json to_json(const Expectation& e) {
  return {{"text", e.text},
          {"value", e.value},
          {"bound", e.bound},
          {"held", e.held},
          {"undecided", e.undecided}};
}

nn::Json to_json(const RunResult& result, const Recipe& recipe) {
  nn::Json json = {{"name", result.name},
                   {"program", program_version()},
                   {"paper", recipe.options.paper.text()},
                   {"seed", result.seed},
                   {"seconds", result.seconds},
                   {"held", result.held()},
                   {"stages", nn::Json::array()},
                   {"expectations", nn::Json::array()}};
  for (const StageResult& stage : result.stages) json["stages"].push_back(to_json(stage));
  for (const Expectation& e : result.expectations) json["expectations"].push_back(to_json(e));
  return json;
}

bool RunResult::held() const {
  for (const Expectation& expectation : expectations)
    if (!expectation.held) return false;
  return true;
}

}  // namespace compress::pipeline
