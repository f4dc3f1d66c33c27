#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/export/export.h"

namespace compress::exports {

namespace fs = std::filesystem;

namespace {

constexpr const char* scheme_file = "quantization.json";

// Binds what `scheme` says, or nothing when it says nothing.
std::unique_ptr<constraint::Constraint> bind_scheme(nn::Model& model, const nn::Json& scheme,
                                                    const std::string& where) {
  auto names_one = [&](const char* key) {
    return scheme.is_object() && scheme.contains(key) && !scheme[key].is_null();
  };
  if (scheme.is_object() && !names_one("weights") && !names_one("activations") &&
      !names_one("embeddings"))
    return nullptr;
  auto quantization = constraint::from_scheme(scheme, where);
  nn::ParamTable none;
  quantization->bind({.student = model.config(), .weights = model.params(), .helpers = none});
  return quantization;
}

}  // namespace

LoadedModel load(const fs::path& folder) {
  nn::ModelState state = checkpoint::load_model(folder);
  LoadedModel loaded;
  loaded.scheme = std::move(state.quantization);
  loaded.weight_scales = std::move(state.weight_scales);
  std::string where = (folder / "config.json").string();
  nn::Json in_force = loaded.scheme;
  std::error_code ignored;
  if (!loaded.scheme.is_null()) {
    in_force["weights"] =
        nullptr;  // they lie on the grid; another amax would give them another one
    in_force.erase("embeddings");
  } else if (fs::exists(folder / scheme_file, ignored)) {
    where = (folder / scheme_file).string();
    loaded.scheme = in_force = checkpoint::read_json(folder / scheme_file);
  }
  loaded.model = nn::build(state, 0);
  for (const auto& [name, scale] : loaded.weight_scales)
    if (nn::Parameter* weight = loaded.model->params().find(name); weight && weight->is_matrix())
      weight->steps = scale;
  if (!in_force.is_null()) loaded.quantization = bind_scheme(*loaded.model, in_force, where);
  return loaded;
}

LoadedModel with_scheme(std::unique_ptr<nn::Model> model, const nn::Json& scheme) {
  LoadedModel loaded;
  loaded.model = std::move(model);
  loaded.scheme = scheme;
  if (!scheme.is_null())
    loaded.quantization = bind_scheme(*loaded.model, scheme, "the stage's quantization");
  return loaded;
}

void save_stage_model(const nn::Model& model, const nn::Json& scheme, const fs::path& folder,
                      const fs::path& tokenizer_source) {
  checkpoint::save_model(model, folder, tokenizer_source);
  if (!scheme.is_null()) {
    write_file(folder / scheme_file, scheme.dump(2) + "\n");
    return;
  }
  std::error_code code;  // a scheme of an earlier model in this folder
  if (!fs::remove(folder / scheme_file, code) && code)
    throw Error(ErrorKind::disk, "cannot remove: " + code.message(),
                (folder / scheme_file).string());
}

}  // namespace compress::exports
