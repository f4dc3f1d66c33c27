#include "folder.h"

#include <algorithm>
#include <cstring>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "quantized.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;
using storage::Dtype;
using storage::TensorView;

namespace {

bool is_float(Dtype type) {
  return type == Dtype::f32 || type == Dtype::f16 || type == Dtype::bf16 || type == Dtype::f64;
}

// Names and types; what a quantised weight needs goes to its weight.
void collect(Folder& folder, const nn::Family& family, Findings& findings) {
  const bool quantised = !folder.config.quantization.is_null();
  std::vector<std::pair<std::string, const TensorView*>> extras;
  for (const TensorView& stored : folder.reader->tensors()) {
    std::string name = family.canonical_name(stored.name);
    if (family.is_ignored(name)) continue;
    if (quantised && is_quantization_extra(name)) {
      extras.emplace_back(std::move(name), &stored);
      continue;
    }
    const bool transposed = family.is_transposed(name) && stored.shape.size() == 2;
    if (!folder.weights.try_emplace(name, Source{&stored, nullptr, transposed, {}}).second)
      findings.add(name + " is there twice, with and without a prefix");
  }
  attach_extras(folder, extras, findings);
  for (const auto& [name, source] : folder.weights)
    if (!is_float(source.values->dtype) && source.scale == nullptr)
      findings.add(str(storage::shown_name(name), " has type ",
                       storage::dtype_name(source.values->dtype), ", which no weight has"));
}

void collect_dense(Folder& folder, Findings& findings) {
  folder.dense = storage::open_tensors(folder.config.dense);
  for (const TensorView& stored : folder.dense->tensors()) {
    if (stored.name != "linear.weight" && stored.name != "linear.bias")
      findings.add(storage::shown_name(stored.name) + " of the Dense module is unexpected");
    else if (!is_float(stored.dtype))
      findings.add(stored.name + " of the Dense module is no floating-point tensor");
    else
      folder.weights["projection." + stored.name.substr(7)] = {&stored, nullptr, false, {}};
  }
}

void collect_gguf(Folder& folder, Findings& findings) {
  GgufWeights weights = gguf_weights(*folder.gguf, folder.config.config);
  for (auto& [name, part] : weights.parts) folder.weights[name] = {nullptr, nullptr, false, part};
  for (std::string& problem : weights.problems) findings.add(std::move(problem));
}

// Sizes that no tensor of the files comes near would have build() ask for absurd amounts of memory.
void refuse_absurd_sizes(const Folder& folder, Findings& findings) {
  const nn::ModelConfig& config = folder.config.config;
  int64_t largest = 0;
  for (const auto& [name, source] : folder.weights)
    for (int64_t size : source.shape()) largest = std::max(largest, size);
  struct Size {
    const char* key;
    int64_t value, bound;
  };
  for (Size size : {Size{"num_hidden_layers", config.layers + config.decoder_layers,
                         static_cast<int64_t>(folder.weights.size())},
                    Size{"hidden_size", config.hidden_size, largest},
                    Size{"vocab_size", config.vocab_size, largest},
                    Size{"intermediate_size", config.intermediate_size, largest}})
    if (size.value > size.bound)
      findings.add(str("config.json: ", size.key, " ", size.value, " is more than the ",
                       folder.weights.size(), " tensors of the weight files can hold"));
}

// The model of the folder's names and shapes without memory for its weights.
std::unique_ptr<nn::Model> dry_build(const nn::ModelConfig& config,
                                     const std::map<std::string, Source>& weights) {
  nn::ModelState state{config, {}, {}};
  for (const auto& [name, source] : weights)
    state.tensors[name] =
        torch::empty(source.shape(), torch::TensorOptions(torch::kFloat32).device(torch::kMeta));
  return nn::build(state, 0);
}

std::string build_problem(const nn::ModelConfig& config,
                          const std::map<std::string, Source>& weights) {
  try {
    dry_build(config, weights);
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

// Tensors that the family does not ask for, when the build fails anyway: those that can be taken
// away without build() complaining of more. Quadratic, so only for files of a usual size.
std::vector<std::string> not_asked_for(const Folder& folder, const std::string& problem) {
  std::vector<std::string> found;
  if (folder.weights.size() > 500) return found;
  const nn::Family& family = nn::family(folder.config.config.family);
  for (const auto& [name, source] : folder.weights) {
    std::map<std::string, Source> others = folder.weights;
    others.erase(name);
    if (!family.is_head(name) && build_problem(folder.config.config, others) == problem)
      found.push_back(name);
  }
  return found;
}

// Compares the names with those of the built model and drops heads that it does not use.
void match_table(Folder& folder, Findings& findings) {
  std::string problem = build_problem(folder.config.config, folder.weights);
  if (!problem.empty()) {
    findings.add(problem);
    for (const std::string& name : not_asked_for(folder, problem))
      findings.add(storage::shown_name(name) + " is unexpected");
    return;
  }
  std::unique_ptr<nn::Model> model = dry_build(folder.config.config, folder.weights);
  std::vector<std::string> unused;
  for (const auto& [name, source] : folder.weights)
    if (model->params().find(name) == nullptr) unused.push_back(name);
  const nn::Family& family = nn::family(folder.config.config.family);
  for (const std::string& name : unused) {
    if (family.is_head(name)) {
      log::debug(str("left out ", name, ", which a model with the head '",
                     nn::head_name(folder.config.config.head), "' does not use"));
      folder.weights.erase(name);
    } else {
      findings.add(storage::shown_name(name) + " is unexpected");
    }
  }
  // build() would initialise a head that the file lacks; a checkpoint must bring the head that it
  // names.
  for (const nn::Parameter& parameter : model->params().list())
    if (!folder.weights.contains(parameter.name) && parameter.trainable)
      findings.add(parameter.name + " is missing");
}

bool same_values(const TensorView& a, const TensorView& b) {
  if (a.shape != b.shape) return false;
  if (a.dtype == b.dtype) return std::memcmp(a.data, b.data, a.bytes) == 0;
  return view(a).to(torch::kFloat32).equal(view(b).to(torch::kFloat32));
}

// Files may hold the word table again under the names of what is tied to it. With other values it
// is a table of its own, which would be lost in silence.
void refuse_other_tables(const Folder& folder, const nn::Family& family, Findings& findings) {
  const nn::Architecture plan = nn::architecture(folder.config.config);
  const std::string word =
      (plan.encoder.layers > 0 ? plan.encoder.word : plan.decoder.word) + ".weight";
  const auto table = folder.weights.find(word);
  if (table == folder.weights.end()) return;
  for (const TensorView& stored : folder.reader->tensors()) {
    const std::string name = family.canonical_name(stored.name);
    const bool output = plan.head.out_tied && name == plan.head.out + ".weight",
               input = family.is_ignored(name) && ends_with(name, ".embed_tokens.weight");
    if ((output || input) && !same_values(stored, *table->second.values))
      findings.add(str(storage::shown_name(name), " differs from ", word, ", whose copy it must be",
                       output ? ", as tie_word_embeddings is not false" : ""));
  }
}

}  // namespace

std::vector<int64_t> Source::shape() const {
  if (values == nullptr) return part.shape;
  if (!transposed) return values->shape;
  return {values->shape[1], values->shape[0]};
}

void Findings::fail(const fs::path& folder) const {
  constexpr size_t shown = 12;
  std::vector<std::string> parts(
      list_.begin(), list_.begin() + static_cast<std::ptrdiff_t>(std::min(list_.size(), shown)));
  if (list_.size() > shown) parts.push_back(str("and ", list_.size() - shown, " more"));
  throw Error(ErrorKind::model,
              "the weights are not those of the model in config.json: " + join(parts, "; "),
              folder.string(),
              gguf_file(folder).empty()
                  ? "config.json and the weight files must belong to the same model"
                  : "config.json follows from the metadata of the GGUF file");
}

Folder open_folder(const fs::path& path) {
  Folder folder;
  Findings findings;
  if (const fs::path file = gguf_file(path); !file.empty()) {
    folder.gguf = std::make_unique<storage::GgufReader>(file);
    folder.config = read_config(*folder.gguf, file);
    collect_gguf(folder, findings);
  } else {
    folder.config = read_config(path);
    check_quantization(folder.config.quantization, path / "config.json");
    folder.reader = storage::open_tensors(path);
    collect(folder, nn::family(folder.config.config.family), findings);
    if (!folder.config.dense.empty()) collect_dense(folder, findings);
  }
  refuse_absurd_sizes(folder, findings);
  if (!findings.empty()) findings.fail(path);
  match_table(folder, findings);
  if (folder.reader != nullptr && findings.empty())
    refuse_other_tables(folder, nn::family(folder.config.config.family), findings);
  if (!findings.empty()) findings.fail(path);
  return folder;
}

std::map<std::string, std::vector<int64_t>> tensor_shapes(const fs::path& path) {
  Folder folder = open_folder(path);
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, source] : folder.weights) shapes[name] = source.shape();
  return shapes;
}

}  // namespace compress::checkpoint
