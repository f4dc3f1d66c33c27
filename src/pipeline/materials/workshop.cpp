#include "materials/workshop.h"

#include "compress/base/error.h"
#include "compress/base/place.h"
#include "compress/base/strings.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/checkpoint/delta.h"
#include "compress/data/texts.h"
#include "compress/surgery/surgery.h"
#include "stage.h"

namespace compress::pipeline {

namespace fs = std::filesystem;

namespace {

// Files of an edit live beside the system's other temporary files until the stage has saved its
// model. A folder that is never committed is removed with its owner.
std::shared_ptr<AtomicFolder> make_work_folder() {
  return std::make_shared<AtomicFolder>(fs::temp_directory_path() / "compress-tokenizer");
}

}  // namespace

StageWorkshop::StageWorkshop(const Recipe& recipe, const StageOptions& stage, Workbench& bench,
                             fs::path source)
    : Workshop(stage_seed(recipe, stage)),
      recipe_(recipe),
      bench_(bench),
      source_(std::move(source)) {}

std::optional<nn::Json> StageWorkshop::numbers(const std::string& name, const recipe::Mark& mark) {
  return bench_.numbers(name, mark);
}

void StageWorkshop::texts(const std::string& dataset, const recipe::Mark&,
                          const std::function<void(std::string_view)>& take) {
  with_place(recipe_.dataset(dataset).mark.text(),
             [&] { data::read_texts(recipe_.dataset(dataset), "train", take); });
}

nn::ModelState StageWorkshop::model(const std::string& name, const recipe::Mark&) {
  return checkpoint::load_model(bench_.folder(name));
}

bool StageWorkshop::same_tokenizer(const std::string& model, const recipe::Mark& mark) {
  return bench_.tokenizer(bench_.folder(model)).hash() == tokenizer(mark).hash();
}

const text::Tokenizer& StageWorkshop::tokenizer(const recipe::Mark&) {
  return bench_.tokenizer(source_);
}

fs::path StageWorkshop::tokenizer_folder(const recipe::Mark&) {
  if (checkpoint::gguf_file(source_).empty()) return checkpoint::tokenizer_home(source_);
  const auto folder = make_work_folder();
  checkpoint::copy_tokenizer(source_, folder->path());
  source_ = folder->path();
  folder_ = folder;
  return source_;
}

void StageWorkshop::replace_tokenizer(const text::FolderFiles& files, const recipe::Mark&) {
  const auto folder = make_work_folder();
  for (const auto& [name, content] : files) write_file(folder->path() / name, content);
  source_ = folder->path();
  folder_ = folder;
}

bool PlanWorkshop::same_tokenizer(const std::string& model, const recipe::Mark&) {
  const std::string theirs = root_(model), ours = root_(source_);
  return theirs == ours ||
         checkpoint::load_tokenizer(theirs)->hash() == checkpoint::load_tokenizer(ours)->hash();
}

}  // namespace compress::pipeline
