#pragma once
// What an edit may look at besides the model: the stage's seed, numbers of earlier stages, texts,
// other models, the tokenizer.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "compress/base/random.h"
#include "compress/nn/model.h"
#include "compress/recipe/options.h"
#include "compress/text/tokenizer.h"
#include "compress/text/trim.h"

namespace compress::surgery {

// A workshop by itself has a seed and nothing else: every question is then an Error{recipe} at
// `mark`. The pipeline's answers them.
class Workshop {
 public:
  explicit Workshop(uint64_t seed) : seed_(seed) {}
  virtual ~Workshop() = default;

  // The seed of a component's draws: a stream of its own, so that one edit does not change what
  // another draws.
  uint64_t seed(const recipe::Component& component) const {
    return stream_seed(seed_, "surgery/" + component.name());
  }
  // Whether only shapes count: in a plan. Values of tensors are then not looked at, no data is
  // read, and an edit writes into the history what is not known yet.
  virtual bool planning() const { return false; }

  // What the stage `name` left in its numbers.json. Nothing in a plan. Error{recipe} at `mark`
  // where the stage left none.
  virtual std::optional<nn::Json> numbers(const std::string& name, const recipe::Mark& mark);
  // Calls `take` with every text of the data set's training part. Not in a plan. Error{data} as
  // data::read_texts().
  virtual void texts(const std::string& dataset, const recipe::Mark& mark,
                     const std::function<void(std::string_view)>& take);
  // Another model by the name of an earlier stage, or by its folder; in a plan as shapes.
  virtual nn::ModelState model(const std::string& name, const recipe::Mark& mark);
  // Whether that model reads with the tokenizer of the one that is edited.
  virtual bool same_tokenizer(const std::string& model, const recipe::Mark& mark);

  // The tokenizer of the model that is edited, and the folder that holds its files. Valid until it
  // is replaced, the tokenizer itself until the stage ends.
  virtual const text::Tokenizer& tokenizer(const recipe::Mark& mark);
  virtual std::filesystem::path tokenizer_folder(const recipe::Mark& mark);
  // From now on the model is read and saved with these files and no others. Not in a plan.
  virtual void replace_tokenizer(const text::FolderFiles& files, const recipe::Mark& mark);

 private:
  uint64_t seed_;
};

}  // namespace compress::surgery
