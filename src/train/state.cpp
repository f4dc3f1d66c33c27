#include "state.h"

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"

namespace compress::train {

namespace {

void put(nn::TensorMap& into, const std::string& prefix, const nn::TensorMap& from) {
  for (const auto& [name, tensor] : from) into[prefix + name] = tensor;
}

nn::TensorMap take(const nn::TensorMap& from, const std::string& prefix) {
  nn::TensorMap part;
  for (auto it = from.lower_bound(prefix); it != from.end() && starts_with(it->first, prefix); ++it)
    part[it->first.substr(prefix.size())] = it->second;
  return part;
}

void put_weights(nn::TensorMap& into, const std::string& prefix, const nn::ParamTable& table,
                 const Binding& binding) {
  for (const nn::Parameter& parameter : table.list())
    if (may_change(parameter, binding)) into[prefix + parameter.name] = parameter.latent.detach();
}

void take_weights(const nn::TensorMap& from, const std::string& prefix, nn::ParamTable& table,
                  const Binding& binding, const std::filesystem::path& file) {
  torch::NoGradGuard no_grad;
  for (nn::Parameter& parameter : table.list()) {
    if (!may_change(parameter, binding)) continue;
    auto it = from.find(prefix + parameter.name);
    if (it == from.end() || it->second.sizes() != parameter.latent.sizes())
      throw Error(ErrorKind::model,
                  "the saved state has no fitting tensor " + prefix + parameter.name, file.string(),
                  "remove the file to start the stage anew");
    parameter.latent.copy_(it->second);
  }
}

}  // namespace

void StateFile::save(const Standing& standing) {
  if (job_.state_file.empty()) return;
  binding_.roles().optimizer->settle();
  checkpoint::RunState state;
  put_weights(state.tensors, "model/", binding_.weights(), binding_);
  put_weights(state.tensors, "auxiliary/", binding_.helpers(), binding_);
  for (const Keyed& keyed : binding_.parts())
    put(state.tensors, keyed.key + "/", keyed.part->state());
  binding_.scene().values->share(job_.processes);
  put(state.tensors, "values/", binding_.scene().values->state());
  if (scale_ != nullptr) put(state.tensors, "loss_scale/", scale_->state());
  put(state.tensors, "best/", selection_.weights());
  nn::Json json = {{"step", standing.progress.step},
                   {"total_steps", standing.progress.total_steps},
                   {"seconds", standing.seconds}};
  json.update(selection_.numbers());
  state.texts["progress"] = json.dump();
  state.texts["identity"] = job_.identity;
  state.texts["inputs"] = job_.inputs;
  if (job_.metrics != nullptr) job_.metrics->sync();
  // All wait: whoever ended earlier would make a launcher end the one that writes.
  parallel::first_only(job_.processes, [&] { checkpoint::save_state(state, job_.state_file); });
}

std::optional<Standing> StateFile::load() {
  const std::filesystem::path& file = job_.state_file;
  if (file.empty()) return std::nullopt;
  if (!parallel::as_first(job_.processes, std::filesystem::exists(file))) return std::nullopt;
  checkpoint::RunState state = checkpoint::load_state(file);
  if (state.texts["identity"] != job_.identity)
    throw Error(
        ErrorKind::recipe,
        "the saved state of stage '" + job_.stage + "' was trained from other models or data",
        file.string(), "remove the file to start the stage anew");
  nn::Json json = nn::Json::parse(state.texts["progress"], nullptr, false);
  Standing standing{Progress::begin(binding_.scene().length)};
  if (json.is_discarded() || !json.contains("step") ||
      json.value("total_steps", int64_t{-1}) != standing.progress.total_steps)
    throw Error(ErrorKind::model, "the saved state has no valid progress record", file.string(),
                "remove the file to start the stage anew");
  take_weights(state.tensors, "model/", binding_.weights(), binding_, file);
  take_weights(state.tensors, "auxiliary/", binding_.helpers(), binding_, file);
  for (const Keyed& keyed : binding_.parts())
    keyed.part->load_state(take(state.tensors, keyed.key + "/"));
  binding_.scene().values->load_state(take(state.tensors, "values/"));
  if (scale_ != nullptr) scale_->load_state(take(state.tensors, "loss_scale/"));
  selection_.weights() = take(state.tensors, "best/");
  selection_.load_numbers(json);
  standing.progress.step = json["step"].get<int64_t>();
  standing.seconds = json.value("seconds", 0.0);
  log::info(str(job_.stage, ": goes on at step ", standing.progress.step, " of ",
                standing.progress.total_steps));
  return standing;
}

}  // namespace compress::train
