#include "report/kept_runs.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "compress/base/base64.h"
#include "compress/base/cpu.h"
#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/hash.h"
#include "compress/base/library_message.h"
#include "compress/base/strings.h"
#include "compress/eval/metric.h"
#include "stage.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

using nn::Json;

// "Intel(R) Xeon(R) Processor, avx512 bf16 amx".
std::string processor() {
  std::string name = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (starts_with(line, "model name") && line.find(": ") != line.npos) {
      name = line.substr(line.find(": ") + 2);
      break;
    }
  name += str(", ", cpu::name(cpu::float_set()));
  if (cpu::has_bf16()) name += " bf16";
  if (cpu::has_amx()) name += " amx";
  return name;
}

// Right and wrong as a bit each, other scores as float32.
Json packed(const eval::RowScores& rows) {
  Json json = {{"rows", rows.rows}, {"n", rows.scores.size()}};
  std::string bytes;
  if (std::all_of(rows.scores.begin(), rows.scores.end(),
                  [](double score) { return score == 0 || score == 1; })) {
    bytes.resize((rows.scores.size() + 7) / 8);
    for (size_t row = 0; row < rows.scores.size(); ++row)
      if (rows.scores[row] == 1) bytes[row / 8] = static_cast<char>(bytes[row / 8] | 1 << row % 8);
    json["right"] = encode_base64(bytes);
  } else {
    for (double score : rows.scores) {
      const auto value = static_cast<float>(score);
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    json["scores"] = encode_base64(bytes);
  }
  return json;
}

// Throws nlohmann's exceptions, or std::invalid_argument, for what packed() did not make.
eval::RowScores unpacked(const Json& json) {
  eval::RowScores rows{json.at("rows"), {}};
  const size_t count = json.at("n").get<size_t>();
  const bool bits = json.contains("right");
  const std::optional<std::string> bytes =
      decode_base64(json.at(bits ? "right" : "scores").get<std::string>());
  if (!bytes || bytes->size() != (bits ? (count + 7) / 8 : count * sizeof(float)))
    throw std::invalid_argument("rows of another number");
  for (size_t row = 0; row < count; ++row) {
    float value = 0;
    if (bits)
      value = static_cast<float>((*bytes)[row / 8] >> row % 8 & 1);
    else
      std::memcpy(&value, bytes->data() + row * sizeof(value), sizeof(value));
    rows.scores.push_back(value);
  }
  return rows;
}

Json to_json(const KeptRun& run) {
  Json json = {{"recipe", run.recipe},       {"hash", run.hash},       {"program", run.program},
               {"processor", run.processor}, {"threads", run.threads}, {"seed", run.seed},
               {"stages", Json::array()},    {"rows", Json::object()}};
  for (const StageResult& stage : run.stages) {
    const Json all = to_json(stage);
    Json kept;
    for (const char* key : {"name", "kind", "seconds", "cpu_seconds", "validation", "test",
                            "parameters", "zeros", "encoder_linear", "encoder_linear_zeros"})
      kept[key] = all.at(key);
    if (all.contains("numbers")) kept["numbers"] = all.at("numbers");
    json["stages"].push_back(std::move(kept));
  }
  for (const auto& [key, rows] : run.rows) json["rows"][key] = packed(rows);
  return json;
}

KeptRun from_json(const Json& json) {
  KeptRun run{json.at("recipe"),
              json.at("hash"),
              json.at("program"),
              json.at("processor"),
              json.at("threads"),
              json.at("seed"),
              {},
              {}};
  for (Json stage : json.at("stages")) {
    stage.update(Json{{"identity", ""},
                      {"samples_per_second", 0},
                      {"steps", 0},
                      {"best_step", 0},
                      {"bytes", 0},
                      {"quantized", false},
                      {"notes", Json::array()},
                      {"exports", Json::array()}});
    run.stages.push_back(stage_from_json(stage));
  }
  for (const auto& [key, rows] : json.at("rows").items()) run.rows[key] = unpacked(rows);
  return run;
}

}  // namespace

std::string rows_key(const std::string& stage, const std::string& part, const std::string& metric) {
  return stage + " " + part + " " + metric;
}

std::string recipe_hash(const fs::path& recipe) {
  recipe::Node root = recipe::parse_file(recipe);
  std::erase_if(root.entries, [](const recipe::Node::Entry& entry) {
    for (const char* key : {"name", "description", "paper", "seed", "expect"})
      if (entry.key == key) return true;
    return false;
  });
  return sha256(recipe::to_yaml(root)).substr(0, 16);
}

KeptRun keep_run(const fs::path& recipe, const RunResult& result, const fs::path& folder) {
  KeptRun run{recipe.generic_string(), recipe_hash(recipe), program_version(), processor(),
              at::get_num_threads(),   result.seed,         result.stages,     {}};
  for (const StageResult& stage : result.stages)
    for (const auto& [part, metrics] :
         {std::pair("validation", &stage.validation), std::pair("test", &stage.test)})
      for (const Metric& metric : *metrics) {
        const fs::path file = predictions_file(folder, stage.name, part);
        std::error_code ignored;
        if (eval::is_mean_over_rows(metric.name) && fs::exists(file, ignored))
          run.rows[rows_key(stage.name, part, metric.name)] =
              eval::row_scores(eval::read_predictions(file), metric.name);
      }
  return run;
}

std::vector<KeptRun> read_kept_runs(const fs::path& file) {
  std::vector<KeptRun> runs;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return runs;
  std::map<std::pair<std::string, int64_t>, int64_t> lines;  // of recipe and seed
  int64_t line = 0;
  for (const std::string& text : split(read_file(file), '\n')) {
    ++line;
    if (text.empty()) continue;
    try {
      runs.push_back(from_json(Json::parse(text)));
    } catch (const std::exception& error) {  // nlohmann's, or a size that does not fit
      throw Error(ErrorKind::data, "this is no kept run: " + library_message(error.what()),
                  str(file.string(), ":", line), "remove the line and run its recipe again");
    }
    const KeptRun& run = runs.back();
    const auto [known, fresh] = lines.try_emplace({run.recipe, run.seed}, line);
    if (!fresh)
      throw Error(ErrorKind::data,
                  str(run.recipe, " with seed ", run.seed, " is in line ", known->second, " too"),
                  str(file.string(), ":", line), "a run counts once: remove one of the two lines");
  }
  return runs;
}

void put_kept_run(const fs::path& file, const KeptRun& run) {
  std::vector<KeptRun> runs = read_kept_runs(file);
  const auto same = std::find_if(runs.begin(), runs.end(), [&](const KeptRun& known) {
    return known.recipe == run.recipe && known.seed == run.seed;
  });
  if (same == runs.end())
    runs.push_back(run);
  else
    *same = run;
  std::sort(runs.begin(), runs.end(), [](const KeptRun& a, const KeptRun& b) {
    return std::tie(a.recipe, a.seed) < std::tie(b.recipe, b.seed);
  });
  std::string text;
  for (const KeptRun& kept : runs) text += to_json(kept).dump() + "\n";
  make_folder(file.parent_path());
  write_file(file, text);
}

ScoresOfRows scores_in(const std::vector<KeptRun>& runs) {
  return [&runs](int64_t run, const std::string& stage, const std::string& part,
                 const std::string& metric) {
    const KeptRun& kept = runs.at(static_cast<size_t>(run));
    const auto found = kept.rows.find(rows_key(stage, part, metric));
    if (found == kept.rows.end())
      throw Error(ErrorKind::data, "nothing is kept of the rows of stage '" + stage + "'",
                  kept.recipe);
    return found->second;
  };
}

}  // namespace compress::pipeline
