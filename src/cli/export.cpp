// `compress export`: writes a model folder in formats of the ecosystem, and checks what it wrote.

#include <CLI/CLI.hpp>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/cli/commands.h"
#include "compress/export/export.h"
#include "compress/pipeline/run.h"
#include "shared/data_flags.h"
#include "shared/numbers.h"

namespace compress::cli {

namespace {

namespace fs = std::filesystem;

struct ExportFlags {
  std::string model, out, base, rest = "float32";
  std::vector<std::string> formats;
  DataFlags data;
  double tolerance = 1e-4;
};

void check_formats(const std::vector<std::string>& names) {
  const std::vector<std::string> known = exports::formats();
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Error(ErrorKind::recipe, "unknown format '" + name + "'", "--format",
                  suggestion(name, known, "formats"));
}

// An export replaces its folder as a whole, so only a new or empty folder or an earlier export will
// do.
void check_target(const fs::path& target, const fs::path& model) {
  if (!fs::exists(target)) return;
  if (fs::exists(model) && fs::equivalent(target, model))
    throw Error(ErrorKind::recipe, "the export would replace the model that it is made from",
                target.string(), "name another folder");
  if (fs::equivalent(target, fs::current_path()))
    throw Error(ErrorKind::disk, "the export would take the place of the current folder",
                target.string(), "name a new folder");
  if (!fs::is_directory(target))
    throw Error(ErrorKind::disk, "there is a file of this name", target.string(),
                "name a new folder");
  if (!fs::is_empty(target) && !fs::exists(target / "compress_run.json"))
    throw Error(ErrorKind::disk, "the folder is not empty and is not an earlier export",
                target.string(), "name a new folder");
}

// The story of the model goes along; what it lacks is told by the program's name.
nn::Json provenance(const fs::path& model) {
  nn::Json json = nn::Json::object();
  const fs::path record = model / "compress_run.json";
  if (fs::exists(record)) json = checkpoint::read_json(record);
  if (!json.is_object())
    throw Error(ErrorKind::model, "the file does not hold an object", record.string());
  if (!json.contains("program")) json["program"] = pipeline::program_version();
  json["exported_by"] = pipeline::program_version();
  return json;
}

std::string as_text(const std::vector<exports::Report>& reports) {
  Table table({"format", "folder", "weights on disk", "under zstd", "all files",
               "largest logit difference", "rows", "metric", "re-read"});
  auto shown = [](const Metric& metric) {
    return metric.name.empty() ? "-" : metric.name + " " + fixed(metric.value, 4);
  };
  for (const exports::Report& report : reports)
    table.row({report.format, report.folder.string(),
               human_bytes(static_cast<double>(report.weight_bytes)),
               report.zstd_bytes > 0 ? human_bytes(static_cast<double>(report.zstd_bytes)) : "-",
               human_bytes(static_cast<double>(report.bytes)),
               report.rows > 0 ? str(report.largest_difference) : "-", str(report.rows),
               shown(report.ours), shown(report.reread)});
  return table.text();
}

int write(const ExportFlags& flags) {
  check_formats(flags.formats);
  fs::path out = (fs::path(flags.out) / "").lexically_normal().parent_path();
  if (out.empty()) out = ".";
  std::vector<fs::path> targets;
  for (const std::string& format : flags.formats) {
    targets.push_back(flags.formats.size() > 1 ? out / format : out);
    check_target(targets.back(), flags.model);
  }
  exports::LoadedModel loaded = exports::load(flags.model);
  std::optional<data::Split> check;
  if (flags.data.given()) {
    std::unique_ptr<text::Tokenizer> tokenizer = checkpoint::load_tokenizer(flags.model);
    check = flags.data.load(loaded.model->config(), *tokenizer);
    eval::check_rows(*check, loaded.model->config(), tokenizer.get());
  }
  const nn::Json story = provenance(flags.model);
  std::vector<exports::Report> reports;
  for (size_t i = 0; i < targets.size(); ++i)
    reports.push_back(exports::write(flags.formats[i], loaded, flags.model, targets[i],
                                     check ? &*check : nullptr, story, flags.tolerance, flags.base,
                                     exports::rest_type(flags.rest)));
  print(as_text(reports));
  return 0;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* sub = app.add_subcommand(
      "export", "Writes a model for other programs and compares what was written");
  sub->add_option("MODEL", flags->model,
                  "Folder in Hugging Face's layout or of a stage, or a GGUF file")
      ->required();
  sub->add_option(
         "--format", flags->formats,
         "huggingface, compressed-tensors, packed, delta or onnx; comma-separated or repeated")
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("FORMAT");
  sub->add_option("--out", flags->out, "New folder; with several formats, of a folder each")
      ->required()
      ->type_name("DIR");
  sub->add_option("--base", flags->base, "Folder of the model that a delta is made on")
      ->type_name("DIR");
  sub->add_option("--rest", flags->rest, "Type of tensors that the quantization leaves")
      ->check(CLI::IsMember(exports::rest_names()))
      ->capture_default_str();
  flags->data.add_to(*sub, "--data-format");
  sub->add_option("--tolerance", flags->tolerance,
                  "Largest difference of logits, relative to the largest logit")
      ->check(number_between(1e-9, 1e3))
      ->capture_default_str();
  sub->footer(
      "Example: compress export runs/quickstart/stages/int8/model --format compressed-tensors "
      "--out "
      "exported");
  sub->callback([flags, &action] { action = [flags] { return write(*flags); }; });
}

}  // namespace compress::cli
