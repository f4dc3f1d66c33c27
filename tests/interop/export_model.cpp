// The exporter and the loader without the command line, for test_export.py.
//
//   export_model make SOURCE OUT FORMAT [sparsity=0.8] [int8=dynamic|static]
//   [granularity=channel|tensor] [embeddings=int8|int4] [group=16] [rest=bf16|float16] [head=...]
//     A classifier (labels negative, positive; seeded head) of a model folder, pruned in each
//     matrix of its layers, written in FORMAT. head=keep leaves the head as it is. Prints the
//     report as JSON.
//   export_model each FORMAT SOURCE OUT [SOURCE OUT...] [KEY=VALUE...]
//     The same of several models.
//   export_model outputs FILE MODEL... [head=embedding]
//     What our loader's models compute for each line of FILE, a sentence or, where it starts with
//     '#', token ids ("# 5 8 > 7 2": of the text to be read and of the one to be written). Prints
//     for each model a JSON list of rows with `ids` and `logits` or `token_logits`, else `hidden`
//     and `pooled`.
//   export_model outputs FILE MODEL save=TENSORS [what=hidden]
//     The same into a file: for row i `ids.i` and `outputs.i`, what the head computes or the last
//     states.

#include "compress/data/torch.h"

#include <fstream>
#include <iostream>
#include <sstream>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/dataset.h"
#include "compress/export/export.h"
#include "compress/text/tokenizer.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
using nn::Json;
using Options = std::map<std::string, std::string>;

std::string option(const Options& options, const std::string& key, const std::string& fallback) {
  auto found = options.find(key);
  return found == options.end() ? fallback : found->second;
}

// Sets the smallest magnitudes of each matrix inside the layers to zero, of `inputs` consecutive
// inputs of an output together.
void prune(nn::Model& model, double sparsity, int64_t inputs) {
  torch::NoGradGuard no_grad;
  for (nn::Parameter* parameter : model.params().select({"encoder"}, nullptr)) {
    const torch::Tensor means = parameter->latent.detach().abs().view({-1, inputs}).mean(1, true);
    auto count = static_cast<int64_t>(sparsity * static_cast<double>(means.numel()));
    if (count == 0) continue;
    torch::Tensor limit = std::get<0>(means.flatten().kthvalue(count));
    parameter->latent.view({-1, inputs}).masked_fill_(means <= limit, 0);
  }
}

Json scheme(nn::Model& model, const std::string& activations, const std::string& granularity) {
  const bool dynamic = activations == "dynamic";
  Json modules = Json::array(), scales = Json::object();
  for (nn::Parameter* parameter : model.params().select({"encoder"}, nullptr)) {
    std::string module =
        parameter->name.substr(0, parameter->name.size() - std::string(".weight").size());
    modules.push_back(module);
    scales[module] = 0.05;  // [-6.4, 6.35]: any scale will do, both readers must take the same
  }
  Json result = {
      {"num_bits", 8},
      {"weights", {{"strategy", granularity}}},
      {"activations", {{"strategy", dynamic ? "token" : "tensor"}, {"dynamic", dynamic}}},
      {"modules", modules}};
  if (!dynamic) result["input_scales"] = scales;
  return result;
}

// The tables of the first layer: those of the model that have a row a token, a place or a segment.
Json embeddings(nn::Model& model, int bits, int64_t group) {
  Json how = {{"num_bits", bits}, {"strategy", bits == 8 ? "channel" : "group"}};
  if (bits == 4) how["group_size"] = group;
  for (const nn::Parameter& parameter : model.params().list())
    if (parameter.role == nn::Role::embedding &&
        parameter.name.find("relative_attention_bias") == std::string::npos)
      how["tables"].push_back(
          parameter.name.substr(0, parameter.name.size() - std::string(".weight").size()));
  return how;
}

Json make(const fs::path& source, const fs::path& out, const std::string& format,
          const Options& options) {
  nn::ModelState state = checkpoint::load_model(source);
  if (option(options, "head", "classification") != "keep")
    nn::set_head(state, nn::HeadKind::classification, {"negative", "positive"});
  std::unique_ptr<nn::Model> model = nn::build(state, 13);
  prune(*model, std::stod(option(options, "sparsity", "0")),
        std::stoll(option(options, "inputs", "1")));
  std::string int8 = option(options, "int8", "");
  Json how =
      int8.empty() ? Json() : scheme(*model, int8, option(options, "granularity", "channel"));
  if (const std::string tables = option(options, "embeddings", ""); !tables.empty()) {
    if (how.is_null())
      how = {{"num_bits", 8},
             {"weights", nullptr},
             {"activations", nullptr},
             {"modules", Json::array()}};
    how["embeddings"] =
        embeddings(*model, tables == "int4" ? 4 : 8, std::stoll(option(options, "group", "16")));
  }
  const std::string rest = option(options, "rest", "");
  exports::LoadedModel loaded = exports::with_scheme(std::move(model), how);
  exports::Report report = exports::write(format, loaded, source, out, nullptr,
                                          Json{{"made_by", "export_model"}}, 1e-4, {},
                                          rest == "bf16"      ? torch::kBFloat16
                                          : rest == "float16" ? torch::kHalf
                                                              : torch::kFloat32);
  return {{"bytes", report.bytes}, {"weight_bytes", report.weight_bytes}};
}

std::vector<int32_t> ids_of(const std::string& line, const text::Tokenizer* tokenizer) {
  if (!starts_with(line, "#")) return tokenizer->encode(line, {.max_length = 128}).ids;
  std::istringstream stream(line.substr(1));
  return {std::istream_iterator<int32_t>(stream), {}};
}

data::Batch batch_of(const std::vector<int32_t>& ids) {
  data::Split split;
  split.task = data::Task::unlabelled;
  split.ids = ids;
  split.offsets = {0, static_cast<int64_t>(ids.size())};
  split.first_lengths = {static_cast<int32_t>(ids.size())};
  split.lines = {1};
  const int64_t row = 0;
  return data::pack(split, std::span(&row, 1));
}

Json values(const torch::Tensor& tensor) {
  torch::Tensor flat = tensor.to(torch::kFloat64).contiguous().flatten();
  return std::vector<double>(flat.const_data_ptr<double>(),
                             flat.const_data_ptr<double>() + flat.numel());
}

void keep(checkpoint::RunState& kept, size_t row, const std::vector<int32_t>& ids,
          const nn::Outputs& out, const Options& options) {
  const bool hidden = option(options, "what", "") == "hidden";
  const torch::Tensor& found = hidden                       ? out.hidden.back()
                               : out.logits.defined()       ? out.logits
                               : out.token_logits.defined() ? out.token_logits
                               : out.pooled.defined()       ? out.pooled
                                                            : out.hidden.back();
  kept.tensors[str("ids.", row)] = torch::tensor(ids, torch::kInt32);
  kept.tensors[str("outputs.", row)] = found.to(torch::kFloat32).contiguous();
}

Json outputs(const fs::path& folder, const fs::path& file, const Options& options) {
  torch::NoGradGuard no_grad;
  exports::LoadedModel loaded;
  if (option(options, "head", "") == "embedding") {
    nn::ModelState state = checkpoint::load_model(folder);
    nn::set_head(state, nn::HeadKind::embedding, {});
    loaded = exports::with_scheme(nn::build(state, 0), nullptr);
  } else {
    loaded = exports::load(folder);
  }
  nn::Model& model = *loaded.model;
  model.params().refresh(nn::Precision::float32);
  std::unique_ptr<text::Tokenizer> tokenizer;
  const bool gguf = !checkpoint::gguf_file(folder).empty();
  std::ifstream input(file);
  checkpoint::RunState kept;
  Json rows = Json::array();
  for (std::string line; std::getline(input, line);) {
    if (!tokenizer && !starts_with(line, "#") &&
        (gguf || !checkpoint::tokenizer_files(folder).empty()))
      tokenizer = checkpoint::load_tokenizer(folder);
    const size_t written = starts_with(line, "#") ? line.find('>') : std::string::npos;
    std::vector<int32_t> ids = ids_of(line.substr(0, written), tokenizer.get());
    data::Batch batch = batch_of(ids);
    if (written != std::string::npos)
      batch.decoder =
          std::make_shared<data::Batch>(batch_of(ids_of("#" + line.substr(written + 1), nullptr)));
    nn::Capture capture;
    capture.hidden = capture.pooled = true;
    for (const nn::HeadSpec& head : model.config().more_heads) capture.heads.insert(head.name);
    nn::Outputs out = model.forward(batch, capture, {});
    if (options.contains("save")) {
      keep(kept, kept.tensors.size() / 2, ids, out, options);
      continue;
    }
    Json row = {{"ids", ids}};
    if (out.logits.defined()) {
      row["logits"] = values(out.logits);
    } else if (out.token_logits.defined()) {
      row["token_logits"] = values(out.token_logits);
    } else {
      row["hidden"] = values(out.hidden.back());
      if (out.pooled.defined()) row["pooled"] = values(out.pooled);
    }
    for (const auto& [name, head] : out.more)
      row["heads"][name] = values(head.logits.defined() ? head.logits : head.token_logits);
    rows.push_back(row);
  }
  if (options.contains("save")) checkpoint::save_state(kept, options.at("save"));
  return rows;
}

int run(const std::vector<std::string>& words) {
  std::vector<std::string> places;
  Options options;
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    if (equals == std::string::npos) {
      places.push_back(word);
    } else {
      options[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  if (places.size() == 4 && places[0] == "make") {
    std::cout << make(places[1], places[2], places[3], options) << "\n";
  } else if (places.size() >= 4 && places.size() % 2 == 0 && places[0] == "each") {
    Json reports = Json::array();
    for (size_t i = 2; i < places.size(); i += 2)
      reports.push_back(make(places[i], places[i + 1], places[1], options));
    std::cout << reports << "\n";
  } else if (places.size() >= 3 && places[0] == "outputs") {
    Json folders = Json::array();
    for (size_t i = 2; i < places.size(); ++i)
      folders.push_back(outputs(places[i], places[1], options));
    std::cout << folders << "\n";
  } else {
    std::cerr << "usage: export_model make SOURCE OUT FORMAT [KEY=VALUE...] | each FORMAT "
                 "SOURCE OUT... [KEY=VALUE...] | outputs FILE "
                 "FOLDER... [head=embedding]\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace compress

int main(int argc, char** argv) {
  try {
    return compress::run({argv + 1, argv + argc});
  } catch (const compress::Error& error) {
    std::cerr << compress::kind_name(error.kind()) << ": " << error.message() << " ("
              << error.where() << ") " << error.hint() << "\n";
    return compress::exit_code(error.kind());
  }
}
