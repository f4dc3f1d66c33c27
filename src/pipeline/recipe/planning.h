#pragma once
// What stages would do, on shapes alone: models without weights, counts of rows.

#include <map>
#include <memory>
#include <set>
#include <string>

#include "compress/nn/model.h"
#include "compress/pipeline/recipe.h"
#include "compress/text/tokenizer.h"
#include "compress/train/train.h"
#include "recipe/promises.h"

namespace compress::pipeline {

class Planning {
 public:
  // `tells`: the plan is read by people; else only mistakes matter.
  Planning(const Recipe& recipe, bool tells) : recipe_(recipe), tells_(tells) {}

  const Recipe& recipe() const { return recipe_; }
  bool tells() const { return tells_; }
  // Adds a line to the plan.
  void line(const std::string& text) { text_ += text + "\n"; }
  const std::string& text() const { return text_; }
  // What a recipe says without effect, or to another one than it seems: a line of the plan, or of
  // the log where nobody reads that.
  void warn(const recipe::Mark& mark, const std::string& what, const std::string& hint);

  // A model by the name that the recipe gives it: tensors of zeros that nobody wrote to.
  nn::ModelState& model(const std::string& name);
  // The folder that its tokenizer comes from.
  std::string tokenizer_folder(const std::string& model) const;
  // What becomes of a stage's model, which was made of `from`; warns of tokens without a row.
  // `open`: it depends on numbers that are not known yet, so that its shapes may be other ones.
  void leave_model(const std::string& stage, const std::string& from, nn::ModelState state,
                   bool open);
  bool is_open(const std::string& model) const { return open_.contains(model); }
  // A stage whose model may have zeros where the one that it was made of has none.
  void leave_zeros(const std::string& stage) { zeros_.insert(stage); }
  // Whether a model is known to have no zero in its matrices: no stage that it comes from leaves
  // some, and the folder where it began has none, which is then read.
  bool is_dense(const std::string& model);
  // What a stage trains beside its model; none of a stage that is open.
  void leave_helpers(const std::string& stage, train::HelperShapes shapes) {
    helpers_[stage] = std::move(shapes);
  }
  const train::HelperShapes& helpers(const std::string& stage) { return helpers_[stage]; }

  // Class names of a data set, and rows of a part of it, which an earlier stage may make. Files are
  // read once for each.
  const std::vector<std::string>& labels(const std::string& dataset);
  int64_t rows(const std::string& dataset, const std::string& part);
  void leave_rows(const std::string& stage, int64_t rows) { made_rows_[stage] = rows; }

  // What a stage's result will have: without this, neither scores nor numbers that are known.
  void promise(const std::string& stage, Promise promise) { promises_[stage] = std::move(promise); }
  const Promises& promises() const { return promises_; }

 private:
  void warn_of_gaps(const std::string& stage, const nn::ModelConfig& config);

  const Recipe& recipe_;
  bool tells_;
  std::string text_;
  std::map<std::string, nn::ModelState> states_;
  std::map<std::string, std::string> roots_;  // folders of tokenizers, by stage
  std::map<std::string, int64_t> made_rows_;  // by stage
  std::map<std::string, std::vector<std::string>> labels_;
  std::map<std::string, int64_t> counted_;
  std::set<std::string> open_, zeros_;
  std::map<std::string, bool> dense_;  // by folder
  Promises promises_;
  std::map<std::string, train::HelperShapes> helpers_;
  std::map<std::string, std::unique_ptr<text::Tokenizer>> tokenizers_;
};

// Binds all stages in order, as plan_text() does, without a word. Error{recipe} with the place of
// what does not fit.
void bind_all(const Recipe& recipe);

}  // namespace compress::pipeline
