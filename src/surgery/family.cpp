#include "family.h"

#include <map>
#include <tuple>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "mapped.h"

namespace compress::surgery {

namespace {

const nn::Family& known(const std::string& name) {
  for (const nn::Family& family : nn::families())
    if (family.model_type == name && family.has_layers()) return family;
  std::vector<std::string> names;
  for (const nn::Family& family : nn::families())
    if (family.has_layers()) names.push_back(family.model_type);
  refuse("there is no family '" + name + "' with layers", "one of " + join(names, ", "));
}

}  // namespace

nn::ModelState in_family(const std::string& name, const nn::ModelState& state) {
  const nn::Family& family = known(name);
  nn::ModelConfig wanted = state.config;
  wanted.family = name;
  wanted.more_heads.clear();
  wanted.raw = nn::Json{{"model_type", name}};
  // What only the old family's files say stays behind.
  nn::ModelState next;
  next.config = family.read_config(family.write_config(wanted));
  next.config.head = wanted.head;
  next.config.labels = wanted.labels;
  next.config.pooling = wanted.pooling;
  next.config.normalize = wanted.normalize;
  nn::complete(next.config);
  check_same_layers(state.config, next.config);
  std::map<std::tuple<bool, int64_t, std::string>, const torch::Tensor*> theirs;
  for (const Sized& tensor : sized_tensors(state.config))
    if (const auto found = state.tensors.find(tensor.name); found != state.tensors.end())
      theirs.try_emplace({tensor.decoder, tensor.layer, tensor.role}, &found->second);
  for (const Sized& tensor : sized_tensors(next.config))
    if (const auto found = theirs.find({tensor.decoder, tensor.layer, tensor.role});
        found != theirs.end())
      next.tensors[tensor.name] = *found->second;
  next.history = state.history;
  return next;
}

}  // namespace compress::surgery
