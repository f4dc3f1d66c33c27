// The state of an unfinished stage: everything that the next update depends on, in one atomic file.

#include "compress/base/error.h"
#include "compress/base/log.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "trainer.h"

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

void put_weights(nn::TensorMap& into, const std::string& prefix, const nn::ParamTable& table) {
  for (const nn::Parameter& parameter : table.list())
    into[prefix + parameter.name] = parameter.latent.detach();
}

void take_weights(const nn::TensorMap& from, const std::string& prefix, nn::ParamTable& table,
                  const std::filesystem::path& file) {
  torch::NoGradGuard no_grad;
  for (nn::Parameter& parameter : table.list()) {
    auto it = from.find(prefix + parameter.name);
    if (it == from.end() || it->second.sizes() != parameter.latent.sizes())
      throw Error(ErrorKind::model,
                  "the saved state has no fitting tensor " + prefix + parameter.name, file.string(),
                  "remove the file to start the stage anew");
    parameter.latent.copy_(it->second);
  }
}

}  // namespace

void Trainer::save_state() {
  if (job_.state_file.empty()) return;
  optimizer_->settle();
  checkpoint::RunState state;
  put_weights(state.tensors, "model/", weights());
  put_weights(state.tensors, "auxiliary/", auxiliary_);
  put(state.tensors, "optimizer/", optimizer_->state());
  for (size_t i = 0; i < constraints_.size(); ++i)
    put(state.tensors, compress::str("constraint", i, "/"), constraints_[i]->state());
  if (averaging_) put(state.tensors, "averaging/", averaging_->state());
  if (scale_) put(state.tensors, "loss_scale/", scale_->state());
  put(state.tensors, "best/", best_.weights);
  nn::Json json = {{"step", progress_.step},
                   {"total_steps", progress_.total_steps},
                   {"seconds", seconds()},
                   {"best_step", best_.step},
                   {"evaluations_since_best", best_.evaluations_since}};
  if (best_.score) json["best_score"] = *best_.score;
  if (!score_before_.empty()) json["score_before"] = score_before_;
  state.texts["progress"] = json.dump();
  state.texts["identity"] = job_.identity;
  state.texts["inputs"] = job_.inputs;
  if (job_.metrics != nullptr) job_.metrics->sync();
  // All wait: whoever ended earlier would make a launcher end the one that writes.
  parallel::first_only(processes_, [&] { checkpoint::save_state(state, job_.state_file); });
}

bool Trainer::load_state() {
  if (job_.state_file.empty()) return false;
  if (!parallel::as_first(processes_, std::filesystem::exists(job_.state_file))) return false;
  checkpoint::RunState state = checkpoint::load_state(job_.state_file);
  if (state.texts["identity"] != job_.identity)
    throw Error(
        ErrorKind::recipe,
        "the saved state of stage '" + job_.stage + "' was trained from other models or data",
        job_.state_file.string(), "remove the file to start the stage anew");
  nn::Json json = nn::Json::parse(state.texts["progress"], nullptr, false);
  if (json.is_discarded() || !json.contains("step") ||
      json.value("total_steps", int64_t{-1}) != progress_.total_steps)
    throw Error(ErrorKind::model, "the saved state has no valid progress record",
                job_.state_file.string(), "remove the file to start the stage anew");
  take_weights(state.tensors, "model/", weights(), job_.state_file);
  take_weights(state.tensors, "auxiliary/", auxiliary_, job_.state_file);
  optimizer_->load_state(take(state.tensors, "optimizer/"));
  for (size_t i = 0; i < constraints_.size(); ++i)
    constraints_[i]->load_state(take(state.tensors, compress::str("constraint", i, "/")));
  if (averaging_) averaging_->load_state(take(state.tensors, "averaging/"));
  if (scale_) scale_->load_state(take(state.tensors, "loss_scale/"));
  best_.weights = take(state.tensors, "best/");
  best_.step = json.value("best_step", int64_t{0});
  best_.evaluations_since = json.value("evaluations_since_best", int64_t{0});
  if (json.contains("best_score")) best_.score = json["best_score"].get<double>();
  progress_.step = json["step"].get<int64_t>();
  score_before_ = json.value("score_before", "");
  earlier_seconds_ = json.value("seconds", 0.0);
  log::info(compress::str(job_.stage, ": goes on at step ", progress_.step, " of ",
                          progress_.total_steps));
  return true;
}

}  // namespace compress::train
