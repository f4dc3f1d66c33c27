#include "compress/nn/attachment.h"

#include <algorithm>

#include "attachments/fitting.h"
#include "compress/base/error.h"
#include "compress/base/library_message.h"
#include "compress/base/strings.h"

namespace compress::nn {

namespace {

const std::vector<AttachmentKind>& kinds() {
  static const std::vector<AttachmentKind> list = {adapter_kind(), lora_kind(), prefix_kind(),
                                                   phm_adapter_kind()};
  return list;
}

const AttachmentKind& kind_of(const AttachmentSpec& spec) {
  std::vector<std::string> names;
  for (const AttachmentKind& kind : kinds()) {
    if (spec.kind == kind.name) return kind;
    names.emplace_back(kind.name);
  }
  throw Error(ErrorKind::model, "unknown kind of attachment '" + spec.kind + "'", {},
              "kinds: " + join(names, ", "));
}

void check_names(const std::vector<AttachmentSpec>& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    kind_of(list[i]);
    if (!is_name_part(list[i].name))
      throw Error(ErrorKind::model,
                  "an attachment's name is made of letters, digits, _ and -, not '" +
                      list[i].name.substr(0, 64) + "'");
    for (size_t j = 0; j < i; ++j)
      if (list[j].name == list[i].name)
        throw Error(ErrorKind::model, "two attachments have the name '" + list[i].name + "'", {},
                    "give one of them another `name`");
  }
}

// The state without values.
ModelState shapes_of(const ModelState& state) {
  ModelState shapes;
  shapes.config = state.config;
  for (const auto& [name, tensor] : state.tensors)
    shapes.tensors[name] =
        torch::empty(tensor.sizes(), torch::TensorOptions(torch::kFloat32).device(torch::kMeta));
  return shapes;
}

}  // namespace

std::vector<std::unique_ptr<Plugs>> fit_attachments(const ModelState& state,
                                                    const ModelConfig& config, ParamTable& params,
                                                    uint64_t seed) {
  std::vector<std::unique_ptr<Plugs>> made;
  if (config.attachments.empty()) return made;
  check_names(config.attachments);
  Fitting fitting(state, config, params, seed);
  for (const AttachmentSpec& spec : config.attachments) {
    fitting.begin(spec);
    try {
      made.push_back(kind_of(spec).make(spec, fitting));
    } catch (const Json::exception& error) {
      throw Error(ErrorKind::model,
                  spec.kind + " '" + spec.name +
                      "' has an option of the wrong type: " + library_message(error.what()));
    }
  }
  return made;
}

void attach(ModelState& state, AttachmentSpec spec) {
  state.config.attachments.push_back(std::move(spec));
  try {
    build(shapes_of(state), 0);
  } catch (const Error& error) {
    throw Error(ErrorKind::recipe, error.message(), {}, error.hint());
  }
}

void merge(ModelState& state, const std::string& name) {
  auto& list = state.config.attachments;
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const auto& spec) { return spec.name == name; });
  if (found == list.end()) {
    std::vector<std::string> names;
    for (const AttachmentSpec& spec : list) names.push_back(spec.name);
    throw Error(ErrorKind::recipe, "the model has no attachment '" + name + "'", {},
                names.empty() ? "it has none at all" : "it has " + join(names, ", "));
  }
  const AttachmentKind& kind = kind_of(*found);
  if (kind.merge == nullptr)
    throw Error(
        ErrorKind::recipe,
        str(kind.name, " '", name, "' cannot be merged into the weights, as ", kind.unmergeable),
        {}, "keep it, or leave it out of what is merged");
  kind.merge(state, *found);
  std::erase_if(state.tensors, [&](const auto& entry) {
    return starts_with(entry.first, attachments_prefix + name + ".");
  });
  list.erase(found);
}

Json attachments_json(const std::vector<AttachmentSpec>& list) {
  Json json = Json::array();
  for (const AttachmentSpec& spec : list) {
    Json entry = {{"kind", spec.kind}, {"name", spec.name}};
    entry.update(spec.options);
    json.push_back(std::move(entry));
  }
  return json;
}

std::vector<AttachmentSpec> read_attachments(const Json& json) {
  std::vector<AttachmentSpec> list;
  if (!json.is_array()) throw Error(ErrorKind::model, "the attachments are no list");
  for (const Json& entry : json) {
    if (!entry.is_object()) throw Error(ErrorKind::model, "an attachment is no object");
    AttachmentSpec spec{entry.value("kind", ""), entry.value("name", ""), entry};
    spec.options.erase("kind");
    spec.options.erase("name");
    list.push_back(std::move(spec));
  }
  check_names(list);
  return list;
}

}  // namespace compress::nn
