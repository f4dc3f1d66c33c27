// SuperGLUE (Wang et al. 2019, arXiv 1905.00537): JSONL, some of it nested.

#include <algorithm>

#include "compress/base/strings.h"
#include "layouts/layout.h"

namespace compress::data {

namespace {

using Json = nlohmann::json;

const Json& at(const Json& object, const char* key) {
  return part_at(object, key);
}

int64_t number_at(const Json& object, const char* key) {
  const Json& value = at(object, key);
  if (!value.is_number_integer()) throw RowProblem{str(cited(key), " is no whole number"), {}};
  return value.get<int64_t>();
}

// Adds a label, where there is one, and the row's number.
void add_common(const Json& object, NamedCells& cells) {
  if (const auto label = object.find("label"); label != object.end() && !label->is_null())
    cells.emplace_back("label", label->is_string() ? label->get<std::string>() : label->dump());
  if (const auto idx = object.find("idx"); idx != object.end() && idx->is_number_integer())
    cells.emplace_back("idx", idx->dump());
}

void replace_all(std::string& text, std::string_view old, std::string_view by) {
  for (size_t i = 0; (i = text.find(old, i)) != std::string::npos; i += by.size())
    text.replace(i, old.size(), by);
}

// Byte of the character number `at`; npos behind the end.
size_t byte_of(std::string_view text, int64_t at) {
  size_t byte = 0;
  for (; at > 0 && byte < text.size(); --at) {
    ++byte;
    while (byte < text.size() && (text[byte] & 0xC0) == 0x80) ++byte;
  }
  return at > 0 || at < 0 ? std::string_view::npos : byte;
}

// Places in characters; `end` is behind the last one.
std::string_view part_of(std::string_view text, int64_t begin, int64_t end, const char* what) {
  const size_t from = byte_of(text, begin), to = byte_of(text, end);
  if (from == std::string_view::npos || to == std::string_view::npos || from >= to)
    throw RowProblem{str(what, " lies outside of its text"), "places count characters from 0"};
  return text.substr(from, to - from);
}

// The text with marks around a part of it.
std::string marked(const std::string& text, int64_t begin, int64_t end, const char* what) {
  const std::string_view part = part_of(text, begin, end, what);
  const auto from = static_cast<size_t>(part.data() - text.data());
  return text.substr(0, from) + "*" + std::string(part) + "*" + text.substr(from + part.size());
}

// "The premise because" or "so", and what it may be followed by.
std::vector<NamedCells> copa_rows(const Json& object) {
  const std::string question = text_at(object, "question");
  if (question != "cause" && question != "effect")
    throw RowProblem{str("\"question\" is ", cited(question), ", neither cause nor effect"), {}};
  std::string premise(trim(text_at(object, "premise")));
  while (premise.ends_with('.')) premise.pop_back();
  NamedCells cells = {{"premise", premise + (question == "cause" ? " because" : " so")},
                      {"choice1", text_at(object, "choice1")},
                      {"choice2", text_at(object, "choice2")}};
  add_common(object, cells);
  return {std::move(cells)};
}

// Both sentences with the word marked where it stands.
std::vector<NamedCells> wic_rows(const Json& object) {
  NamedCells cells = {{"word", text_at(object, "word")}};
  for (const char* number : {"1", "2"}) {
    const std::string sentence = text_at(object, str("sentence", number).c_str());
    cells.emplace_back(str("sentence", number), sentence);
    cells.emplace_back(str("marked", number),
                       marked(sentence, number_at(object, str("start", number).c_str()),
                              number_at(object, str("end", number).c_str()), "the word"));
  }
  add_common(object, cells);
  return {std::move(cells)};
}

// Puts `mark` around the words of a span, which is told by its first word's number.
void mark_words(std::vector<std::string>& words, const Json& target, const char* number,
                const char* mark) {
  const int64_t index = number_at(target, str("span", number, "_index").c_str());
  const std::string span(trim(text_at(target, str("span", number, "_text").c_str())));
  const auto count = static_cast<int64_t>(std::count(span.begin(), span.end(), ' ')) + 1;
  if (index < 0 || index + count > static_cast<int64_t>(words.size()) || span.empty())
    throw RowProblem{str("span ", number, " lies outside of its text"),
                     "places count the words between spaces, from 0"};
  const auto first = static_cast<size_t>(index), last = static_cast<size_t>(index + count - 1);
  words[first].insert(0, mark);
  words[last] += mark;
}

std::vector<NamedCells> wsc_rows(const Json& object) {
  const std::string text = text_at(object, "text");
  const Json& target = at(object, "target");
  std::vector<std::string> words;
  for (const std::string& word : split(text, ' '))
    if (!word.empty()) words.push_back(word);
  mark_words(words, target, "1", "*");
  mark_words(words, target, "2", "#");
  NamedCells cells = {{"text", text},
                      {"marked", join(words, " ")},
                      {"span1", text_at(target, "span1_text")},
                      {"span2", text_at(target, "span2_text")}};
  add_common(object, cells);
  return {std::move(cells)};
}

std::string without_markup(std::string text) {
  for (const char* mark : {"<br>", "<b>", "</b>"}) replace_all(text, mark, " ");
  std::string out;
  for (const std::string& word : split(text, ' '))
    if (!word.empty()) out += (out.empty() ? "" : " ") + word;
  return out;
}

// An index as text. The ids that are made of three of them have "-" between these.
std::string index_of(const Json& object) {
  const std::string index = at(object, "idx").dump();
  if (index.find('-') != std::string::npos)
    throw RowProblem{str("idx is ", index, ", and a whole number from 0 is due"), {}};
  return index;
}

// A row for each answer; those of one question are a group.
std::vector<NamedCells> multirc_rows(const Json& object) {
  const Json& passage = at(object, "passage");
  const std::string text = without_markup(text_at(passage, "text"));
  const std::string number = index_of(object);
  std::vector<NamedCells> rows;
  for (const Json& question : list_at(passage, "questions")) {
    const std::string asked = text_at(question, "question");
    const std::string group = number + "-" + index_of(question);
    for (const Json& answer : list_at(question, "answers")) {
      NamedCells cells = {{"passage", text},
                          {"question", asked},
                          {"answer", text_at(answer, "text")},
                          {"group", group},
                          {"id", group + "-" + index_of(answer)}};
      add_common(answer, cells);
      rows.push_back(std::move(cells));
    }
  }
  return rows;
}

// A row for each entity that may stand at the query's @placeholder; those of one query are a group.
std::vector<NamedCells> record_rows(const Json& object) {
  const Json& passage = at(object, "passage");
  const std::string whole = text_at(passage, "text");
  // Highlights follow as sentences.
  std::string text = whole;
  for (const char* end : {".", "?", "!", "\"", "'"})
    replace_all(text, str(end, "\n@highlight\n"), str(end, " "));
  replace_all(text, "\n@highlight\n", ". ");
  std::vector<std::string> entities;
  for (const Json& entity : list_at(passage, "entities")) {
    const std::string name(
        part_of(whole, number_at(entity, "start"), number_at(entity, "end") + 1, "an entity"));
    if (std::find(entities.begin(), entities.end(), name) == entities.end())
      entities.push_back(name);
  }
  std::vector<NamedCells> rows;
  for (const Json& asked : list_at(object, "qas")) {
    const std::string query = text_at(asked, "query"), group = at(asked, "idx").dump();
    if (query.find("@placeholder") == std::string::npos)
      throw RowProblem{"a query without @placeholder", {}};
    std::vector<std::string> answers;
    const bool answered = asked.contains("answers");
    if (answered)
      for (const Json& answer : list_at(asked, "answers"))
        answers.push_back(text_at(answer, "text"));
    for (const std::string& entity : entities) {
      std::string filled = query;
      replace_all(filled, "@placeholder", entity);
      NamedCells cells = {
          {"passage", text}, {"query", filled}, {"entity", entity}, {"group", group}};
      if (answered)
        cells.emplace_back(
            "label",
            std::find(answers.begin(), answers.end(), entity) != answers.end() ? "1" : "0");
      rows.push_back(std::move(cells));
    }
  }
  return rows;
}

nlohmann::ordered_json number_of(const std::string& id) {
  return nlohmann::ordered_json::parse(id);
}

// {"idx": 0, "passage": {"questions": [{"idx": 0, "answers": [{"idx": 0, "label": 1}]}]}}, a
// passage a line.
std::string multirc_answers(const std::vector<std::string>& ids,
                            const std::vector<std::string>& predictions,
                            const std::vector<double>&) {
  using Ordered = nlohmann::ordered_json;
  std::string text, passage, question;
  Ordered line;
  auto finish = [&] {
    if (!line.is_null()) text += line.dump() + "\n";
  };
  for (size_t row = 0; row < ids.size(); ++row) {
    const std::vector<std::string> numbers = split(ids[row], '-');
    if (line.is_null() || numbers[0] != passage) {
      finish();
      line = {{"idx", number_of(numbers[0])}};
      line["passage"]["questions"] = Ordered::array();
      question.clear();
    }
    Ordered& questions = line["passage"]["questions"];
    if (numbers[0] != passage || numbers[1] != question || questions.empty()) {
      Ordered asked = {{"idx", number_of(numbers[1])}};
      asked["answers"] = Ordered::array();
      questions.push_back(std::move(asked));
    }
    passage = numbers[0];
    question = numbers[1];
    questions.back()["answers"].push_back(
        {{"idx", number_of(numbers[2])}, {"label", number_of(predictions[row])}});
  }
  finish();
  return text;
}

// {"idx": 0, "label": "entity"}: the likeliest entity of each query, of equal ones the first.
std::string record_answers(const std::vector<std::string>& ids, const std::vector<std::string>&,
                           const std::vector<double>& scores) {
  std::string text, query, best;
  double score = 0;
  auto finish = [&] {
    if (query.empty()) return;
    nlohmann::ordered_json line = {{"idx", number_of(query)}};
    line["label"] = best;
    text += line.dump() + "\n";
  };
  for (size_t row = 0; row < ids.size(); ++row) {
    const size_t tab = ids[row].find('\t');
    const std::string own = ids[row].substr(0, tab), entity = ids[row].substr(tab + 1);
    if (own == query && scores[row] <= score) continue;
    if (own != query) finish();
    query = own;
    best = entity;
    score = scores[row];
  }
  finish();
  return text;
}

std::string keys(const char* own, const char* sent) {
  return str("train: train.jsonl\nvalidation: val.jsonl\n", own,
             "\nsubmission: {file: test.jsonl, id: idx, key: idx, as: ", sent, ".jsonl}");
}

}  // namespace

std::vector<PublishedLayout> super_glue_layouts() {
  using Counts = PublishedLayout::Counts;
  return {
      {"superglue/boolq", "whether the answer to a question on a passage is yes",
       keys(R"(
text: passage
pair: question
label: label
labels: ["false", "true"]
max_length: 256
metrics: [accuracy])",
            "BoolQ")},
      {"superglue/cb", "whether a speaker holds a clause to be true",
       keys(R"(
text: premise
pair: hypothesis
label: label
labels: [contradiction, entailment, neutral]
max_length: 256
metrics: [f1_macro, accuracy])",
            "CB")},
      {"superglue/copa", "which of two sentences is the cause, or the effect",
       keys(R"(
task: multiple_choice
text: premise
choices: [choice1, choice2]
label: label
metrics: [accuracy])",
            "COPA"),
       copa_rows},
      {"superglue/multirc",
       "which of several answers to a question on a passage are right",
       R"(
train: train.jsonl
validation: val.jsonl
text: passage
pair: "{question} {answer}"
label: label
labels: ["0", "1"]
positive: "1"
group: group
max_length: 384
metrics: [f1, group_exact_match]
submission: {file: test.jsonl, id: id, key: idx, as: MultiRC.jsonl})",
       multirc_rows,
       Counts::as_task,
       {},
       multirc_answers},
      {"superglue/record",
       "which entity of a passage completes a statement",
       R"(
train: train.jsonl
validation: val.jsonl
text: passage
pair: query
label: label
labels: ["0", "1"]
positive: "1"
group: group
max_length: 384
candidate: entity
metrics: [group_answer_f1, group_answer_match]
submission: {file: test.jsonl, id: "{group}\t{entity}", key: idx, as: ReCoRD.jsonl})",
       record_rows,
       Counts::as_task,
       {},
       record_answers},
      {"superglue/rte", "whether a sentence follows from another",
       keys(R"(
text: premise
pair: hypothesis
label: label
labels: [entailment, not_entailment]
max_length: 256
metrics: [accuracy])",
            "RTE")},
      {"superglue/wic", "whether a word means the same in two sentences",
       keys(R"(
text: "{word}: {marked1}"
pair: marked2
label: label
labels: ["false", "true"]
metrics: [accuracy])",
            "WiC"),
       wic_rows},
      {"superglue/wsc", "whether a pronoun stands for a noun phrase",
       keys(R"(
text: marked
pair: "{span2}: {span1}"
label: label
labels: ["false", "true"]
metrics: [accuracy])",
            "WSC"),
       wsc_rows},
  };
}

}  // namespace compress::data
