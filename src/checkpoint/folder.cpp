#include "folder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/nn/architecture.h"
#include "compress/storage/packed.h"
#include "delta.h"
#include "quantized.h"

namespace compress::checkpoint {

namespace fs = std::filesystem;
using storage::Dtype;
using storage::TensorView;

namespace {

bool is_float(Dtype type) {
  return type == Dtype::f32 || type == Dtype::f16 || type == Dtype::bf16 || type == Dtype::f64;
}

// The first stack's table of words.
std::string word_table(const nn::ModelConfig& config) {
  const nn::Architecture plan = nn::architecture(config);
  const bool first = plan.encoder.layers > 0 || plan.decoder.layers == 0;
  return (first ? plan.encoder : plan.decoder).word + ".weight";
}

// What stands before all names of the files besides the family's prefix, as Python's wrappers of
// models leave it. Looked for only where the table of words is not found without it.
std::string wrapper_of(const storage::TensorReader& reader, const nn::Family& family,
                       const nn::ModelConfig& config) {
  const std::string word = word_table(config);
  const std::vector<TensorView>& tensors = reader.tensors();
  std::string wrapper;
  auto all_begin_with = [&](const std::string& front) {
    return std::all_of(tensors.begin(), tensors.end(),
                       [&](const TensorView& one) { return starts_with(one.name, front); });
  };
  auto has_words = [&] {
    return std::any_of(tensors.begin(), tensors.end(), [&](const TensorView& one) {
      return family.canonical_name(one.name.substr(wrapper.size())) == word;
    });
  };
  for (bool longer = !tensors.empty(); longer && !has_words();) {
    longer = false;
    for (const char* front : {"module.", "_orig_mod.", "_fsdp_wrapped_module.", "model."})
      if (!longer && all_begin_with(wrapper + front)) {
        wrapper += front;
        longer = true;
      }
  }
  return has_words() ? wrapper : "";
}

void check_types(const Folder& folder, Findings& findings) {
  for (const auto& [name, source] : folder.weights)
    if (source.values != nullptr && !is_float(source.values->dtype) && source.scale == nullptr)
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

// What names of tensors tell of a making that is not read.
void name_makings(const Folder& folder, Findings& findings) {
  constexpr std::pair<const char*, const char*> makings[] = {
      {".qweight", "weights that GPTQ or AWQ quantised"},
      {".absmax", "weights that bitsandbytes quantised"},
      {".lora_A", "an adapter that was not merged into its model"},
      {".weight_mask", "a mask of torch.nn.utils.prune that was not made permanent"}};
  for (const auto& [part, making] : makings)
    for (const auto& [name, source] : folder.weights)
      if (name.find(part) != std::string::npos) {
        findings.add(str(storage::shown_name(name), " is of ", making, ", which is not read"));
        break;
      }
}

// "a, b and 5 more".
std::string shortened(const std::vector<std::string>& names) {
  constexpr size_t shown = 6;
  std::vector<std::string> parts;
  for (size_t i = 0; i < std::min(shown, names.size()); ++i)
    parts.push_back(storage::shown_name(names[i]));
  return join(parts, ", ") +
         (names.size() > shown ? str(" and ", names.size() - shown, " more") : "");
}

// Whether a tensor that the model does not ask for is a further one of a layer that it has, such as
// a bias or a scale: config.json and the weights then disagree of what the layer computes. Zeros
// add nothing.
bool changes_a_layer(const std::string& name, const Source& source, const nn::Model& model) {
  for (const nn::Parameter& parameter : model.params().list()) {
    if (!ends_with(parameter.name, ".weight")) continue;
    const std::string module = parameter.name.substr(0, parameter.name.size() - 6);
    if (!starts_with(name, module)) continue;
    return !(ends_with(name, ".bias") && source.values != nullptr &&
             !view(*source.values).to(torch::kFloat32).any().item<bool>());
  }
  return false;
}

// Leaves out what is no part of the model, with a line of the log. The configuration of a GGUF file
// follows from the file, which then holds nothing else.
void leave_out(Folder& folder, const nn::Model& model, const fs::path& place, Findings& findings) {
  const nn::Family& family = nn::family(folder.config.config.family);
  std::vector<std::string> heads, others;
  for (const auto& [name, source] : folder.weights) {
    if (model.params().find(name) != nullptr) continue;
    if (changes_a_layer(name, source, model))
      findings.add(str(storage::shown_name(name),
                       " is unexpected: config.json does not give this layer one"));
    else if (folder.gguf != nullptr && !family.is_head(name))
      findings.add(storage::shown_name(name) + " is unexpected");
    else
      (family.is_head(name) ? heads : others).push_back(name);
  }
  for (const auto* names : {&heads, &others})
    for (const std::string& name : *names) folder.weights.erase(name);
  // Files of before 2020 do not name the model's class, so nothing says what the head is for.
  const nn::ModelConfig& config = folder.config.config;
  const bool unnamed = config.head == nn::HeadKind::none && config.raw.is_object() &&
                       config.raw.value("architectures", nn::Json()).empty();
  std::vector<std::string> classes;
  for (const nn::HeadClass& one : family.classes) classes.push_back(one.name);
  if (!heads.empty() && unnamed)
    log_once(log::warn,
             str(place.string(), ": config.json has no 'architectures', so the model is ",
                 "read without its head: left out ", shortened(heads), "; to keep it, ",
                 "add the model's class to config.json (\"architectures\": [...], of ",
                 join(classes, ", "), ")"));
  else if (!heads.empty())
    log_once(log::info,
             str(place.string(), ": left out what a model with the head '",
                 nn::head_name(folder.config.config.head), "' does not use: ", shortened(heads)));
  if (!others.empty())
    log_once(log::warn, str(place.string(), ": left out what is no part of a ", family.model_type,
                            " model: ", shortened(others)));
}

// A further head of the model's class none of whose tensors are there, as in TinyBERT's published
// checkpoints: the files are those of a model without it.
void drop_absent_heads(Folder& folder, const fs::path& place) {
  std::vector<nn::HeadSpec>& heads = folder.config.config.more_heads;
  std::erase_if(heads, [&](const nn::HeadSpec& head) {
    const auto found = folder.weights.lower_bound(head.module + ".");
    if (head.module.empty() ||
        (found != folder.weights.end() && starts_with(found->first, head.module + ".")))
      return false;
    log_once(log::warn, str(place.string(), ": the weights have nothing of the head '", head.name,
                            "' (", head.module, "): the model is read without it"));
    return true;
  });
}

// Compares the names with those of the built model.
void match_table(Folder& folder, const fs::path& place, Findings& findings) {
  std::string problem = build_problem(folder.config.config, folder.weights);
  if (!problem.empty()) {
    name_makings(folder, findings);
    findings.add(problem);
    for (const std::string& name : not_asked_for(folder, problem))
      findings.add(storage::shown_name(name) + " is unexpected");
    return;
  }
  std::unique_ptr<nn::Model> model = dry_build(folder.config.config, folder.weights);
  leave_out(folder, *model, place, findings);
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
  const std::string word = word_table(folder.config.config);
  const auto table = folder.weights.find(word);
  if (table == folder.weights.end()) return;
  for (const TensorView& stored : folder.reader->tensors()) {
    const std::string name = family.canonical_name(stored.name.substr(folder.wrapper.size()));
    const bool output = plan.head.out_tied && name == plan.head.out + ".weight",
               input = family.is_ignored(name) && ends_with(name, ".embed_tokens.weight");
    if ((output || input) && !same_values(stored, *table->second.values))
      findings.add(str(storage::shown_name(name), " differs from ", word, ", whose copy it must be",
                       output ? ", as tie_word_embeddings is not false" : ""));
  }
}

constexpr std::array weight_names = {"model.safetensors", "model.safetensors.index.json",
                                     "pytorch_model.bin", "pytorch_model.bin.index.json",
                                     storage::packed_name};

// A folder of config.json and a tokenizer, of a family whose sizes alone tell its tensors. Whoever
// builds its model without drawing weights first is told that there are none.
bool awaits_weights(const Folder& folder, const fs::path& path) {
  return !nn::family(folder.config.config.family).has_layers() && !has_weights(path);
}

}  // namespace

void log_once(void (*say)(std::string_view), const std::string& line) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(line).second) say(line);
}

void collect(Folder& folder, const nn::Family& family, const fs::path& place, Findings& findings) {
  const bool quantised = !folder.config.quantization.is_null();
  std::vector<std::pair<std::string, const TensorView*>> extras;
  folder.wrapper = wrapper_of(*folder.reader, family, folder.config.config);
  if (!folder.wrapper.empty())
    log_once(log::warn,
             str(place.string(), ": all names of tensors begin with '", folder.wrapper,
                 "', which a wrapper of the model left there; they are read without it"));
  for (const TensorView& stored : folder.reader->tensors()) {
    std::string name = family.canonical_name(stored.name.substr(folder.wrapper.size()));
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
}

std::vector<int64_t> Source::shape() const {
  if (values == nullptr) return part.shape;
  if (width > 0) return {values->shape[0], width};
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
  std::optional<Overlay> overlay;
  if (const fs::path file = gguf_file(path); !file.empty()) {
    folder.gguf = std::make_unique<storage::GgufReader>(file);
    folder.config = read_config(*folder.gguf, file);
    collect_gguf(folder, findings);
  } else if (is_delta(path)) {
    folder.config = read_config(path);
    overlay.emplace(path, folder, findings);
    if (!folder.config.dense.empty()) collect_dense(folder, findings);
  } else {
    folder.config = read_config(path);
    if (awaits_weights(folder, path)) return folder;
    check_quantization(folder.config, path / "config.json");
    folder.reader = storage::open_tensors(path);
    collect(folder, nn::family(folder.config.config.family), path, findings);
    if (!folder.config.dense.empty()) collect_dense(folder, findings);
  }
  refuse_absurd_sizes(folder, findings);
  if (!findings.empty()) findings.fail(path);
  drop_absent_heads(folder, path);
  match_table(folder, path, findings);
  check_types(folder, findings);
  if (overlay && findings.empty())
    overlay->check(folder);
  else if (folder.reader != nullptr && findings.empty())
    refuse_other_tables(folder, nn::family(folder.config.config.family), findings);
  if (!findings.empty()) findings.fail(path);
  return folder;
}

bool has_weights(const fs::path& model) {
  if (!gguf_file(model).empty() || is_delta(model)) return true;
  std::error_code ignored;
  return std::any_of(weight_names.begin(), weight_names.end(),
                     [&](const char* name) { return fs::exists(model / name, ignored); });
}

std::map<std::string, std::vector<int64_t>> tensor_shapes(const fs::path& path) {
  Folder folder = open_folder(path);
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, source] : folder.weights) shapes[name] = source.shape();
  return shapes;
}

}  // namespace compress::checkpoint
