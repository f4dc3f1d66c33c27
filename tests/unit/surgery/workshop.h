#pragma once
// A workshop whose answers a test writes down.

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "support/failure.h"
#include "unit/surgery/states.h"

namespace compress::surgery {

class Answers final : public Workshop {
 public:
  explicit Answers(uint64_t seed = 7) : Workshop(seed) {}

  bool plan = false;
  bool shared_tokenizer = true;
  std::map<std::string, nn::Json> left;  // numbers, by stage
  std::map<std::string, std::vector<std::string>> data;
  std::map<std::string, nn::ModelState> models;
  std::filesystem::path folder;  // of the tokenizer
  text::FolderFiles written;

  bool planning() const override { return plan; }
  std::optional<nn::Json> numbers(const std::string& name, const recipe::Mark& mark) override {
    if (plan) return std::nullopt;
    const auto found = left.find(name);
    return found == left.end() ? Workshop::numbers(name, mark) : found->second;
  }
  void texts(const std::string& dataset, const recipe::Mark&,
             const std::function<void(std::string_view)>& take) override {
    for (const std::string& text : data.at(dataset)) take(text);
  }
  nn::ModelState model(const std::string& name, const recipe::Mark&) override {
    return models.at(name);
  }
  bool same_tokenizer(const std::string&, const recipe::Mark&) override { return shared_tokenizer; }
  const text::Tokenizer& tokenizer(const recipe::Mark&) override {
    tokenizers_.push_back(text::load_tokenizer(folder));
    return *tokenizers_.back();
  }
  std::filesystem::path tokenizer_folder(const recipe::Mark&) override { return folder; }
  void replace_tokenizer(const text::FolderFiles& files, const recipe::Mark&) override {
    written = files;
    folder += "-trimmed";
    std::filesystem::remove_all(folder);
    make_folder(folder);
    for (const auto& [name, content] : files) write_file(folder / name, content);
  }

 private:
  std::vector<std::unique_ptr<text::Tokenizer>> tokenizers_;
};

}  // namespace compress::surgery
