#pragma once
// What a stage may measure of a model over data. One measurement gives numbers, and some a store of
// tensors besides.

#include <memory>
#include <string>

#include "compress/data/task.h"
#include "materials/asking.h"
#include "recipe/planning.h"
#include "stage.h"

namespace compress::pipeline {

struct MeasureOptions : AskOptions {
  recipe::DataReference data;
  std::string part = "validation";
  std::string what = "contribution";
  std::string token = "first";
  std::string rule = "wrong";
  double above = 0.1;

  static const recipe::Options<MeasureOptions>& options();
};

class Measurement {
 public:
  explicit Measurement(const MeasureOptions& options) : options_(options) {}
  virtual ~Measurement() = default;

  // Whether it leaves store/ beside its numbers.
  virtual bool stores() const { return true; }
  // Error{recipe} where a model of that configuration has no such numbers on data of the task.
  virtual void check(const nn::ModelConfig& model, data::Task task) const {
    (void)model;
    (void)task;
  }
  // The names of its numbers, as take() gives them with values; null where they are not known
  // before the model is.
  virtual nn::Json names(const Planning& planning, const nn::ModelConfig& model,
                         data::Task task) const = 0;
  // What else the plan says.
  virtual void plan(Planning& planning, const nn::ModelConfig& model) const {
    (void)planning;
    (void)model;
  }
  // Its numbers. What it writes into the stage's folder is named in `result.made`. A collective
  // call; Error{diverged} where the model's outputs are not finite.
  virtual nn::Json take(Bench& bench, Asked& asked, const data::Split& split,
                        StageResult& result) const = 0;
  // Its numbers in words.
  virtual std::string summary(const nn::Json& numbers) const = 0;

 protected:
  const MeasureOptions& options_;
};

// What `options.what` names; refers to the options.
std::unique_ptr<Measurement> measurement(const MeasureOptions& options);

// How much each layer changes its input (layers.cpp).
std::unique_ptr<Measurement> contribution(const MeasureOptions& options);
// Of tokens (tokens.cpp): their losses, which ones a model has not learnt, how often they come.
std::unique_ptr<Measurement> losses_of_tokens(const MeasureOptions& options);
std::unique_ptr<Measurement> hard_tokens(const MeasureOptions& options);
std::unique_ptr<Measurement> counts_of_tokens(const MeasureOptions& options);

}  // namespace compress::pipeline
