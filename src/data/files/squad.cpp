// SQuAD's files: articles, their passages, questions and answers.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "files/annotated.h"
#include "files/reader.h"

namespace compress::data {

namespace {

using Json = nlohmann::json;

class Squad final : public Reader {
 public:
  explicit Squad(Source& source) : Reader(source) {
    count_rows_by(source.file(), "question");
    if (invalid_utf8(left_) != std::string_view::npos)
      refuse("it is not valid UTF-8", "convert the file to UTF-8");
    try {
      file_ = Json::parse(left_);
    } catch (const Json::parse_error& error) {
      const size_t at = std::min(error.byte, left_.size());
      refuse(
          str("it is not valid JSON at line ",
              1 + std::count(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(at), end_),
              ", byte ", error.byte),
          "for one object a line use jsonl");
    }
    if (!file_.is_object() || !list(file_, "data")) refuse("it has no list \"data\"");
    left_ = {};
  }

  bool seek(size_t) override { return false; }
  bool next(Record& record) override {
    start(record);
    const Json* articles = list(file_, "data");
    for (; article_ < articles->size(); ++article_, passage_ = 0) {
      const Json* passages = list((*articles)[article_], "paragraphs");
      if (passages == nullptr) refuse("an article has no list \"paragraphs\"");
      for (; passage_ < passages->size(); ++passage_, question_ = 0) {
        const Json& passage = (*passages)[passage_];
        const Json* questions = list(passage, "qas");
        if (questions == nullptr) refuse("a paragraph has no list \"qas\"");
        if (question_ == questions->size()) continue;
        record.line = ++count_;
        read(passage, (*questions)[question_++], record);
        return true;
      }
    }
    return false;
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& hint = {}) const {
    throw Error(ErrorKind::data, "the file is not in SQuAD's format: " + what,
                source_.file().string(), hint);
  }

  static const Json* list(const Json& object, const char* key) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(key);
    return found == object.end() || !found->is_array() ? nullptr : &*found;
  }
  static const std::string* text(const Json& object, const char* key) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(key);
    return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
  }

  // Questions without an id are called by their number.
  std::string id_of(const Json& question) const {
    const auto found = question.find("id");
    if (found == question.end() || found->is_null()) return str(count_);
    return found->is_string() ? found->get<std::string>() : found->dump();
  }

  static bool is_place(const Json& answer) {
    const auto found = answer.find("answer_start");
    if (found == answer.end() || !found->is_number_integer()) return false;
    return !found->is_number_unsigned() || found->get<uint64_t>() <= uint64_t{INT64_MAX};
  }

  void read(const Json& passage, const Json& question, Record& record) {
    const std::string* asked = text(question, "question");
    const std::string* context = text(passage, "context");
    if (asked == nullptr || context == nullptr) {
      record.problem = "it has no text, or its paragraph no \"context\"";
      return;
    }
    std::string texts, places;
    if (question.contains("answers") && !question["answers"].is_null() &&
        !question["answers"].is_array()) {
      record.problem = "its \"answers\" are no list";
      record.hint = "an answer is {\"text\": ..., \"answer_start\": ...}";
      return;
    }
    if (const Json* answers = list(question, "answers")) {
      for (const Json& answer : *answers) {
        const std::string* given = text(answer, "text");
        if (given == nullptr || !is_place(answer)) {
          record.problem = "it has an answer without text or answer_start";
          return;
        }
        if (given->find(list_separator) != std::string::npos) {
          record.problem = "it has an answer with a character U+001F";
          return;
        }
        if (!places.empty()) {
          texts += list_separator;
          places += list_separator;
        }
        texts += *given;
        places += str(answer["answer_start"].get<int64_t>());
      }
    }
    const std::string id = id_of(question);
    const auto [before, is_new] = ids_.emplace(id, count_);
    if (!is_new) {  // the files of answers have one a question
      record.problem = str("it has the id ", cited(id), ", as question ", before->second, " has");
      record.hint = "`bad_rows: skip` keeps the first of them";
      return;
    }
    for (const std::string& cell : {*asked, *context, texts, places, id})
      record.cells.push_back(source_.keep(cell));
  }

  Json file_;
  size_t article_ = 0, passage_ = 0, question_ = 0;
  int64_t count_ = 0;
  std::unordered_map<std::string, int64_t> ids_;  // the question that has one
};

}  // namespace

std::unique_ptr<Reader> open_squad(Source& source) {
  return std::make_unique<Squad>(source);
}

}  // namespace compress::data
