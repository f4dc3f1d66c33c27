// Terms over some of the labelled tokens.

#include <algorithm>

#include "components.h"
#include "compress/base/error.h"
#include "compress/base/strings.h"

namespace compress::objective {

void check_tokens(const std::string& tokens, nn::HeadKind head, const recipe::Mark& place) {
  if (tokens == all_tokens || unit_of(head) == Unit::labels) return;
  throw Error(ErrorKind::recipe,
              str("`tokens: ", tokens, "` names tokens, and the losses of the head ",
                  nn::head_name(head), " are not of tokens"),
              place.text(), "remove it");
}

torch::Tensor of_mark(const torch::Tensor& values, const data::Batch& batch,
                      const std::string& tokens, const recipe::Mark& place) {
  if (tokens == all_tokens) return values;
  const data::TokenMark* mark = batch.targets.mark(tokens);
  if (mark == nullptr)
    throw Error(ErrorKind::data, str("the rows have no tokens with the mark '", tokens, "'"),
                place.text(), "a language model's data has the mark `answer` with `target`");
  const auto all = static_cast<double>(std::max<int64_t>(batch.update_labelled(), 1)),
             some = static_cast<double>(std::max<int64_t>(mark->update, 1));
  return values * mark->among * (all / some);
}

std::string mark_of(const std::string& tokens) {
  return tokens == all_tokens ? "" : tokens;
}

std::string mark_refusal(const std::string& tokens) {
  return tokens == all_tokens ? "" : "the number of marked tokens varies";
}

}  // namespace compress::objective
