#pragma once
// What the edits of a stage's model may look at.

#include <memory>

#include "compress/base/files.h"
#include "compress/pipeline/recipe.h"
#include "compress/surgery/workshop.h"
#include "materials/workbench.h"

namespace compress::pipeline {

// In a run. The data sets are those of the recipe, models and numbers those that earlier stages
// left.
class StageWorkshop final : public surgery::Workshop {
 public:
  // `source`: the folder of the model that is edited. All must outlive the workshop.
  StageWorkshop(const Recipe& recipe, const StageOptions& stage, Workbench& bench,
                std::filesystem::path source);

  std::optional<nn::Json> numbers(const std::string& name, const recipe::Mark& mark) override;
  void texts(const std::string& dataset, const recipe::Mark& mark,
             const std::function<void(std::string_view)>& take) override;
  nn::ModelState model(const std::string& name, const recipe::Mark& mark) override;
  bool same_tokenizer(const std::string& model, const recipe::Mark& mark) override;
  const text::Tokenizer& tokenizer(const recipe::Mark& mark) override;
  std::filesystem::path tokenizer_folder(const recipe::Mark& mark) override;
  void replace_tokenizer(const text::FolderFiles& files, const recipe::Mark& mark) override;

  // Where the model's tokenizer is now: `source`, or `folder` of a tokenizer that an edit wrote.
  const std::filesystem::path& source() const { return source_; }
  // The files that edits wrote; they are gone with it. Null where they wrote none.
  std::shared_ptr<const AtomicFolder> folder() const { return folder_; }

 private:
  const Recipe& recipe_;
  Workbench& bench_;
  std::filesystem::path source_;
  std::shared_ptr<const AtomicFolder> folder_;
};

// In a plan: shapes of models, and nothing that only a run knows.
class PlanWorkshop final : public surgery::Workshop {
 public:
  using Model = std::function<nn::ModelState(const std::string&)>;
  using Root = std::function<std::string(const std::string&)>;
  // `model` gives a model's shapes, `root` the folder that its tokenizer comes from, both by the
  // name that the recipe uses; `source` is that of the model that is edited.
  PlanWorkshop(Model model, Root root, std::string source)
      : Workshop(0), model_(std::move(model)), root_(std::move(root)), source_(std::move(source)) {}

  bool planning() const override { return true; }
  std::optional<nn::Json> numbers(const std::string&, const recipe::Mark&) override {
    return std::nullopt;
  }
  nn::ModelState model(const std::string& name, const recipe::Mark&) override {
    return model_(name);
  }
  bool same_tokenizer(const std::string& model, const recipe::Mark& mark) override;

 private:
  Model model_;
  Root root_;
  std::string source_;
};

}  // namespace compress::pipeline
