// `compress inspect`: what a model folder holds.

#include <CLI/CLI.hpp>
#include <algorithm>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/delta.h"
#include "compress/checkpoint/vocabulary.h"
#include "compress/cli/commands.h"
#include "compress/export/export.h"
#include "compress/nn/packed.h"
#include "compress/nn/pattern.h"

namespace compress::cli {

namespace {

struct InspectFlags {
  std::string model;
  bool tensors = false, kernels = false, json = false;
};

struct Count {
  int64_t weights = 0, zeros = 0;
  void add(const Count& other) {
    weights += other.weights;
    zeros += other.zeros;
  }
  double share() const {
    return weights > 0 ? static_cast<double>(zeros) / static_cast<double>(weights) : 0;
  }
  std::string text() const { return str(fixed(100 * share(), 2), "% of ", with_commas(weights)); }
  nn::Json json() const { return {{"weights", weights}, {"zeros", zeros}, {"sparsity", share()}}; }
};

struct Tensor {
  const nn::Parameter* parameter;
  Count count;
  std::string pattern;  // of a matrix's zeros
};

// A file of the folder with its size.
struct File {
  std::string name;
  int64_t bytes;
};

// Everything that is told, in either form.
struct Inspection {
  const nn::Model* model = nullptr;
  nn::Json scheme, history;
  int64_t tokens = -1;         // of the folder's tokenizer; -1: it has none
  std::string tokenizer_note;  // why it cannot be read, or what it has beyond the embedding
  std::vector<Tensor> tensors;
  std::vector<Count> layers;    // all parameters of each layer
  std::vector<Count> matrices;  // the matrices of each layer
  Count all, encoder;
  std::string pattern;  // of the zeros in the matrices of all layers
  std::vector<File> files;
  int64_t bytes = 0;
  std::vector<nn::NamedKernel> kernels;  // where they are asked for
};

// `each`: the pattern of each matrix, too.
void count_zeros(Inspection& found, bool each) {
  torch::NoGradGuard no_grad;
  found.pattern = nn::zeros_text(*found.model);
  const auto layers =
      static_cast<size_t>(found.model->config().layers + found.model->config().decoder_layers);
  found.layers.resize(layers);
  found.matrices.resize(layers);
  for (const nn::Parameter& parameter : found.model->params().list()) {
    const Count count{parameter.numel(),
                      parameter.numel() - parameter.latent.count_nonzero().item<int64_t>()};
    nn::ZeroPattern zeros;
    if (each && parameter.is_matrix() && count.zeros > 0) zeros.add(parameter.latent);
    found.tensors.push_back({&parameter, count, zeros.text()});
    found.all.add(count);
    if (parameter.layer < 0) continue;
    const auto layer = static_cast<size_t>(parameter.layer);
    found.layers.at(layer).add(count);
    if (!parameter.is_matrix()) continue;
    found.matrices.at(layer).add(count);
    found.encoder.add(count);
  }
}

void list_files(Inspection& found, const std::filesystem::path& folder) {
  if (std::filesystem::is_regular_file(folder)) {
    found.bytes = static_cast<int64_t>(std::filesystem::file_size(folder));
    found.files.push_back({folder.filename().string(), found.bytes});
    return;
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const auto bytes = static_cast<int64_t>(entry.file_size());
    found.files.push_back({entry.path().lexically_relative(folder).string(), bytes});
    found.bytes += bytes;
  }
  std::sort(found.files.begin(), found.files.end(),
            [](const File& a, const File& b) { return a.name < b.name; });
}

void meet_tokenizer(Inspection& found, const std::filesystem::path& model) {
  const std::filesystem::path folder = checkpoint::tokenizer_home(model);
  if (checkpoint::gguf_file(folder).empty() && checkpoint::tokenizer_files(folder).empty()) return;
  try {
    const auto tokenizer = checkpoint::load_tokenizer(folder);
    found.tokens = tokenizer->vocabulary_size();
    found.tokenizer_note = checkpoint::missing_rows(*tokenizer, found.model->config());
  } catch (const Error& error) {  // a model can be looked at without it
    found.tokenizer_note = error.message();
  }
}

std::string quantization_text(const nn::Json& scheme) {
  if (scheme.is_null()) return "none";
  auto part = [&](const char* key, const char* otherwise) {
    if (!scheme.contains(key) || scheme.at(key).is_null()) return std::string(otherwise);
    return "per " + scheme.at(key).value("strategy", std::string("?"));
  };
  const std::string embeddings = exports::embeddings_text(scheme);
  // Weights that were read back from integers are quantised already.
  return str(scheme.value("num_bits", 8), " bits, weights ", part("weights", "as stored"),
             ", activations ", part("activations", "float"), ", ",
             scheme.contains("modules") ? scheme.at("modules").size() : 0, " matrices",
             embeddings.empty() ? "" : str(", embeddings ", embeddings));
}

std::string shape_text(const nn::Parameter& parameter) {
  std::vector<std::string> sizes;
  for (int64_t size : parameter.latent.sizes()) sizes.push_back(str(size));
  return join(sizes, " x ");
}

std::string line(std::string label, const std::string& value) {
  label.resize(14, ' ');
  return label + value + "\n";
}

std::string summary_text(const Inspection& found) {
  const nn::ModelConfig& config = found.model->config();
  std::string head = nn::head_name(config.head);
  if (!config.labels.empty()) head += " {" + join(config.labels, ", ") + "}";
  std::string text = line("family", config.family) + line("head", head);
  text +=
      line("shape",
           str(config.layers, " layers, ", config.hidden_size, " wide, ", config.attention_heads,
               " heads, feed-forward ", config.intermediate_size, ", vocabulary ",
               with_commas(config.vocab_size), ", ", config.max_positions, " positions"));
  if (config.head == nn::HeadKind::embedding || config.sentence.is_object())
    text += line("pooling", config.pooling + (config.normalize ? ", normalised" : ""));
  if (!found.tokenizer_note.empty()) text += line("tokenizer", found.tokenizer_note);
  text += line("parameters", with_commas(found.all.weights));
  text += line("sparsity", found.encoder.text() + " weights in the encoder's matrices, " +
                               found.all.text() + " parameters");
  if (!found.pattern.empty()) text += line("zeros", found.pattern);
  text += line("quantisation", quantization_text(found.scheme));
  for (const nn::AttachmentSpec& spec : config.attachments)
    text += line("attached", str(spec.name, ": ", spec.kind, " ", spec.options.dump()));
  for (const std::string& edit : found.model->history()) text += line("edited", edit);
  return text;
}

// "layer.(query, key).weight" of layers that share a product.
std::string names_text(const std::vector<std::string>& names) {
  const std::string& first = names.front();
  if (names.size() == 1) return first;
  size_t shortest = first.size(), begin = 0, end = 0;
  for (const std::string& name : names) shortest = std::min(shortest, name.size());
  auto same = [&](auto letter) {
    return std::all_of(names.begin(), names.end(),
                       [&](const std::string& name) { return letter(name) == letter(first); });
  };
  while (begin < shortest && same([&](const std::string& name) { return name[begin]; })) ++begin;
  while (end < shortest - begin &&
         same([&](const std::string& name) { return name[name.size() - 1 - end]; }))
    ++end;
  std::vector<std::string> middles;
  for (const std::string& name : names)
    middles.push_back(name.substr(begin, name.size() - begin - end));
  return str(first.substr(0, begin), "(", join(middles, ", "), ")",
             first.substr(first.size() - end));
}

std::string kernels_text(const std::vector<nn::NamedKernel>& kernels) {
  Table table({"matrix", "shape", "density", "zeros", "multiplied as", "by"});
  for (const nn::NamedKernel& each : kernels)
    table.row({names_text(each.names), str(each.outputs, " x ", each.inputs),
               fixed(100 * each.kernel.density, 2) + "%", each.kernel.pattern,
               each.kernel.arithmetic + (each.kernel.sparse ? ", zeros skipped" : ""),
               each.kernel.instructions});
  return table.text() + "\n";
}

nn::Json kernels_json(const std::vector<nn::NamedKernel>& kernels) {
  nn::Json json = nn::Json::array();
  for (const nn::NamedKernel& each : kernels)
    json.push_back({{"names", each.names},
                    {"shape", {each.outputs, each.inputs}},
                    {"density", each.kernel.density},
                    {"zeros", each.kernel.pattern},
                    {"arithmetic", each.kernel.arithmetic},
                    {"zeros_skipped", each.kernel.sparse},
                    {"instructions", each.kernel.instructions}});
  return json;
}

// What compress_run.json tells of the run that made the model.
std::string history_text(const nn::Json& history) {
  if (!history.is_object()) return {};
  std::string text;
  for (const char* key : {"program", "recipe", "paper", "seed"}) {
    if (!history.contains(key)) continue;
    const nn::Json& value = history.at(key);
    std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    if (!shown.empty()) text += line("made by", str(key, " ", shown));
  }
  return text;
}

std::string as_text(const Inspection& found, bool tensors) {
  Table layers({"layer", "parameters", "zeros", "matrices", "zeros in matrices"});
  for (size_t i = 0; i < found.layers.size(); ++i)
    layers.row({str(i), with_commas(found.layers[i].weights),
                fixed(100 * found.layers[i].share(), 2) + "%",
                with_commas(found.matrices[i].weights),
                fixed(100 * found.matrices[i].share(), 2) + "%"});
  Table files({"file", "bytes"});
  for (const File& file : found.files) files.row({file.name, with_commas(file.bytes)});
  files.row({"all", with_commas(found.bytes)});
  std::string text =
      summary_text(found) + history_text(found.history) + "\n" + layers.text() + "\n";
  if (tensors) {
    Table table({"tensor", "role", "shape", "parameters", "zeros", "pattern"});
    for (const Tensor& tensor : found.tensors)
      table.row({tensor.parameter->name, nn::role_name(tensor.parameter->role),
                 shape_text(*tensor.parameter), with_commas(tensor.count.weights),
                 fixed(100 * tensor.count.share(), 2) + "%", tensor.pattern});
    text += table.text() + "\n";
  }
  if (!found.kernels.empty()) text += kernels_text(found.kernels);
  return text + files.text();
}

std::string as_json(const Inspection& found, bool tensors) {
  const nn::ModelConfig& config = found.model->config();
  nn::Json json = {{"family", config.family},
                   {"head", nn::head_name(config.head)},
                   {"labels", config.labels},
                   {"layers", config.layers},
                   {"hidden_size", config.hidden_size},
                   {"attention_heads", config.attention_heads},
                   {"intermediate_size", config.intermediate_size},
                   {"vocab_size", config.vocab_size},
                   {"max_positions", config.max_positions},
                   {"pooling", config.head == nn::HeadKind::embedding || config.sentence.is_object()
                                   ? nn::Json(config.pooling)
                                   : nn::Json()},
                   {"tokenizer_tokens", found.tokens < 0 ? nn::Json() : nn::Json(found.tokens)},
                   {"tokenizer_note", found.tokenizer_note},
                   {"parameters", found.all.json()},
                   {"encoder_matrices", found.encoder.json()},
                   {"zero_pattern", found.pattern},
                   {"per_layer", nn::Json::array()},
                   {"quantization", found.scheme},
                   {"edits", found.model->history()},
                   {"files", nn::Json::object()},
                   {"bytes", found.bytes},
                   {"history", found.history}};
  for (size_t i = 0; i < found.layers.size(); ++i)
    json["per_layer"].push_back(
        {{"parameters", found.layers[i].json()}, {"matrices", found.matrices[i].json()}});
  for (const File& file : found.files) json["files"][file.name] = file.bytes;
  if (tensors)
    for (const Tensor& tensor : found.tensors) {
      nn::Json entry = tensor.count.json();
      entry["role"] = nn::role_name(tensor.parameter->role);
      if (!tensor.pattern.empty()) entry["zero_pattern"] = tensor.pattern;
      entry["shape"] = tensor.parameter->latent.sizes().vec();
      json["tensors"][tensor.parameter->name] = std::move(entry);
    }
  if (!found.kernels.empty()) json["kernels"] = kernels_json(found.kernels);
  // Names come from files: bytes that are not UTF-8 must not end the program.
  return json.dump(2, ' ', false, nn::Json::error_handler_t::replace) + "\n";
}

int inspect(const InspectFlags& flags) {
  exports::LoadedModel loaded = exports::load(flags.model);
  Inspection found;
  found.model = loaded.model.get();
  found.scheme = loaded.scheme;
  const std::filesystem::path record = std::filesystem::path(flags.model) / "compress_run.json";
  if (std::filesystem::exists(record)) found.history = checkpoint::read_json(record);
  count_zeros(found, flags.tensors);
  list_files(found, flags.model);
  meet_tokenizer(found, flags.model);
  if (flags.kernels) {
    torch::NoGradGuard no_grad;
    loaded.model->params().refresh(nn::Precision::float32);
    const nn::PackedWeights packed(loaded.model->params());
    found.kernels = nn::kernels(loaded.model->params());
  }
  print(flags.json ? as_json(found, flags.tensors) : as_text(found, flags.tensors));
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* sub = app.add_subcommand(
      "inspect", "Tells what a model folder holds: shape, sparsity, quantisation, bytes");
  sub->add_option("MODEL", flags->model,
                  "Folder in Hugging Face's layout or of a stage, or a GGUF file")
      ->required();
  sub->add_flag("--tensors", flags->tensors, "Each tensor, too");
  sub->add_flag("--kernels", flags->kernels,
                "How this processor multiplies each matrix on the CPU in float32");
  sub->add_flag("--json", flags->json, "As JSON");
  sub->footer("Example: compress inspect models/all-MiniLM-L6-v2");
  sub->callback([flags, &action] { action = [flags] { return inspect(*flags); }; });
}

}  // namespace compress::cli
