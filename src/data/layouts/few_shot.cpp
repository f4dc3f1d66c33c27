// Few-shot collections: CrossFit's tasks (Ye et al. 2021, arXiv 2104.08835) and the probes of LAMA
// (Petroni et al. 2019, arXiv 1909.01066).

#include <fstream>
#include <map>
#include <set>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "layouts/layout.h"

namespace compress::data {

namespace {

using Json = nlohmann::json;

// Relations that have templates, by their names.
using Relations = std::map<std::string, std::string>;

constexpr size_t most_words = 100;  // of a text; longer ones are left out

void put(std::string& text, std::string_view mark, const std::string& by) {
  for (size_t i = 0; (i = text.find(mark, i)) != std::string::npos; i += by.size())
    text.replace(i, mark.size(), by);
}

size_t words_in(const std::string& text) {
  size_t words = 0;
  for (const std::string& word : split(text, ' ')) words += !word.empty();
  return words;
}

std::vector<NamedCells> gap_row(std::string text, const Json& object, const std::string& relation) {
  if (words_in(text) > most_words) return {};
  const auto subject = object.find("sub_label");
  return {
      {{"text", std::move(text)},
       {"relation", relation},
       {"sub_label", subject != object.end() && subject->is_string() ? subject->get<std::string>()
                                                                     : std::string()},
       {"obj_label", text_at(object, "obj_label")}}};
}

// "[X] was born in [Y] ." with the subject and a gap, once for each subject and object.
RowMaker by_template(std::string key, Relations templates) {
  auto seen = std::make_shared<std::set<std::string>>();
  return [key = std::move(key), templates = std::move(templates),
          seen](const Json& object) -> std::vector<NamedCells> {
    std::string relation = text_at(object, key.c_str());
    relation = relation.substr(relation.rfind('/') + 1);
    const auto found = templates.find(relation);
    if (found == templates.end())
      throw RowProblem{str("no template for the relation ", cited(relation)),
                       "relations.jsonl has a line for each"};
    const std::string subject = text_at(object, "sub_label"), right = text_at(object, "obj_label");
    if (!seen->insert(relation + '\x1F' + subject + '\x1F' + right).second) return {};
    std::string text = found->second;
    put(text, "[X]", subject);
    put(text, "[Y]", "[MASK]");
    return gap_row(std::move(text), object, relation);
  };
}

// {"relation": "P19", "template": "[X] was born in [Y] .", ...} a line.
RowMaker trex_rows(const DatasetOptions& options) {
  const std::filesystem::path file = std::filesystem::path(options.folder) / "relations.jsonl";
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed))
    throw Error(ErrorKind::data, "the templates of the relations cannot be read", file.string(),
                "LAMA's data folder has relations.jsonl");
  const std::string text = read_file(file);
  refuse_foreign(text, file);
  Relations templates;
  Lines lines(text);
  for (std::string_view line; lines.next(line);) {
    const int64_t number = lines.number();
    if (trim(line).empty()) continue;
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    try {
      templates[text_at(object, "relation")] = text_at(object, "template");
    } catch (const RowProblem& problem) {
      throw Error(ErrorKind::data, problem.what, str(file.string(), ":", number), problem.hint);
    }
  }
  return by_template("predicate_id", std::move(templates));
}

// Their templates are those of LAMA's script.
RowMaker google_rows(const DatasetOptions&) {
  return by_template("pred", {{"place_of_birth", "[X] was born in [Y] ."},
                              {"date_of_birth", "[X] (born [Y])."},
                              {"place_of_death", "[X] died in [Y] ."}});
}

std::vector<NamedCells> sentence_rows(const Json& object) {
  std::string text;
  for (const Json& sentence : list_at(object, "masked_sentences")) {
    if (!sentence.is_string()) throw RowProblem{"a sentence is no text", {}};
    text += (text.empty() ? "" : " ") + sentence.get<std::string>();
  }
  const auto relation = object.find("pred");
  return gap_row(std::move(text), object,
                 relation != object.end() && relation->is_string() ? relation->get<std::string>()
                                                                   : std::string("all"));
}

PublishedLayout probe(const char* name, const char* summary, const char* files, bool relations) {
  PublishedLayout layout;
  layout.name = str("lama/", name);
  layout.summary = summary;
  layout.keys = str("test: ", files, R"(
format: jsonl
task: cloze
text: text
target: obj_label
bad_rows: skip
)",
                    relations ? "group: relation\nmetrics: [vocabulary_precision_mean@1, "
                                "vocabulary_precision_mean@10, vocabulary_precision@1]"
                              : "metrics: [vocabulary_precision@1, vocabulary_precision@10]");
  layout.counts = PublishedLayout::Counts::never;
  return layout;
}

}  // namespace

std::string row_identity(const PublishedLayout& layout, const DatasetOptions& options) {
  if (layout.rows_of == nullptr || layout.name != "lama/trex") return {};
  std::ifstream input(std::filesystem::path(options.folder) / "relations.jsonl");
  return {std::istreambuf_iterator<char>(input), {}};
}

std::vector<PublishedLayout> few_shot_layouts() {
  constexpr auto never = PublishedLayout::Counts::never;
  // `folder` is the folder with the beginning of the files' names: data/glue-sst2/glue-sst2_16_13.
  const std::string files = R"(
train: _train.tsv
validation: _dev.tsv
test: _test.tsv
header: false
quoting: false
ragged: true
text: "{0}\n"
max_length: 256
)";
  PublishedLayout trex = probe(
      "trex", "the object of a relation in a sentence made of its template", "TREx/*.jsonl", true);
  trex.rows_of = trex_rows;
  PublishedLayout google = probe("google_re", "place and date of birth, place of death of a person",
                                 "Google_RE/*_test.jsonl", true);
  google.rows_of = google_rows;
  PublishedLayout concepts =
      probe("conceptnet", "the word in the gap of a sentence", "ConceptNet/test.jsonl", false);
  concepts.rows = sentence_rows;
  PublishedLayout squad = probe("squad", "the answer to a question as the gap of a sentence",
                                "Squad/test.jsonl", false);
  squad.rows = sentence_rows;
  return {
      {"crossfit/classification",
       "a task of CrossFit whose outputs are classes: the likeliest of its options",
       files + "task: prompted\nlabel: \"1\"\nmetrics: [f1_macro, accuracy]", nullptr, never},
      {"crossfit/text", "a task of CrossFit whose outputs are texts, of which several may be right",
       files + "task: language_model\ntarget: \"1..\"\n"
               "metrics: [answer_f1, exact_match, rouge_l]",
       nullptr, never},
      std::move(trex),
      std::move(google),
      std::move(concepts),
      std::move(squad)};
}

}  // namespace compress::data
