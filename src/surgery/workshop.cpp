#include "compress/surgery/workshop.h"

#include "compress/base/error.h"

namespace compress::surgery {

namespace {

[[noreturn]] void none(const std::string& what, const recipe::Mark& mark) {
  throw Error(ErrorKind::recipe, "there is " + what + " here", mark.text(),
              "this edit works in a stage of a recipe");
}

}  // namespace

std::optional<nn::Json> Workshop::numbers(const std::string& name, const recipe::Mark& mark) {
  none("no stage '" + name + "'", mark);
}

void Workshop::texts(const std::string& dataset, const recipe::Mark& mark,
                     const std::function<void(std::string_view)>&) {
  none("no data set '" + dataset + "'", mark);
}

nn::ModelState Workshop::model(const std::string& name, const recipe::Mark& mark) {
  none("no model '" + name + "'", mark);
}

bool Workshop::same_tokenizer(const std::string&, const recipe::Mark& mark) {
  none("no tokenizer", mark);
}

const text::Tokenizer& Workshop::tokenizer(const recipe::Mark& mark) {
  none("no tokenizer", mark);
}

std::filesystem::path Workshop::tokenizer_folder(const recipe::Mark& mark) {
  none("no tokenizer", mark);
}

void Workshop::replace_tokenizer(const text::FolderFiles&, const recipe::Mark& mark) {
  none("no tokenizer", mark);
}

}  // namespace compress::surgery
