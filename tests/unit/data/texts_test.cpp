#include "compress/data/texts.h"

#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> all(const DatasetOptions& options, const std::string& split = "train") {
  std::vector<std::string> texts;
  read_texts(options, split, [&](std::string_view text) { texts.emplace_back(text); });
  return texts;
}

class Texts : public DataTest {};

TEST_F(Texts, OfRowsInTheirOrder) {
  EXPECT_THAT(all(dataset("a.tsv", "label\ttext\nx\tone two\n\ny\tthree\n")),
              ElementsAre("one two", "three"));
}

TEST_F(Texts, OfPairsTargetsAndChoices) {
  DatasetOptions pairs = dataset("a.tsv", "text\tother\tlabel\na\tb\tx\nc\td\ty\n");
  pairs.pair = "other";
  EXPECT_THAT(all(pairs), ElementsAre("a", "b", "c", "d"));
  DatasetOptions target = texts("b.tsv", "text\tother\na\tb\n");
  target.task = "sequence_to_sequence";
  target.target = "other";
  EXPECT_THAT(all(target), ElementsAre("a", "b"));
  DatasetOptions choices = dataset("c.tsv", "text\tfirst\tsecond\tlabel\na\tb\tc\t0\n");
  choices.task = "multiple_choice";
  choices.choices = {"first", "second"};
  EXPECT_THAT(all(choices), ElementsAre("a", "b", "c"));
}

TEST_F(Texts, WordsOfATaggedRowAreOneText) {
  DatasetOptions options = dataset("a.jsonl", R"({"text": ["New", "York"], "label": ["A", "B"]})"
                                              "\n");
  options.task = "token_classification";
  EXPECT_THAT(all(options), ElementsAre("New York"));
}

TEST_F(Texts, LimitAndLongTexts) {
  DatasetOptions options = texts("a.tsv", "text\none two three\nfour\n");
  options.limit = 1;
  options.max_length = 2;
  EXPECT_THAT(all(options), ElementsAre("one two three"));
}

TEST_F(Texts, RowsThatCannotBeReadAreCounted) {
  const DatasetOptions options = texts("a.jsonl", "{\"text\": \"a\"}\n{\"text\": 3}\n{}\n");
  try {
    all(options);
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("2"));
    EXPECT_THAT(error.what(), HasSubstr("a.jsonl:2"));
  }
  EXPECT_THROW(all(options, "test"), Error);
}

TEST_F(Texts, OfARowByItsNumber) {
  DatasetOptions options =
      dataset("a.csv", "label,text,more\nx,\"one,\ntwo\",b\n\ny,three,c\nx,f,d\n");
  options.pair = "more";
  options.limit = 2;
  const Split split = load(options);
  for (int time = 0; time < 2; ++time) {  // in any order
    EXPECT_THAT(texts_of_row(split, 1), ElementsAre("three", "c"));
    EXPECT_THAT(texts_of_row(split, 0), ElementsAre("one,\ntwo", "b"));
  }
  DatasetOptions lines =
      texts("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}\n{\"text\": \"\\u00e4 b\"}\n");
  const Split other = load(lines);
  ASSERT_EQ(other.rows(), 2);  // the second one has no text
  EXPECT_THAT(texts_of_row(other, 1), ElementsAre("\u00e4 b"));
}

TEST_F(Texts, OfRowsOfOtherFormats) {
  DatasetOptions words = dataset("a.conll", "a X\nb X\n\nc Y\nd Y\n");
  words.task = "token_classification";
  words.text = "0";
  words.label = "1";
  words.labels = {"X", "Y"};
  EXPECT_THAT(texts_of_row(load(words), 1), ElementsAre("c d"));
  DatasetOptions asked;
  asked.train = write("a.json", R"({"data": [{"paragraphs": [{"context": "a b", "qas": [
      {"question": "one", "answers": []}, {"question": "two", "answers": []}]}]}]})");
  asked.format = "squad";
  asked.task = "span";
  asked.text = "question";
  asked.pair = "context";
  const Split questions = load(asked);
  EXPECT_THAT(texts_of_row(questions, 1), ElementsAre("two", "a b"));
  EXPECT_THAT(texts_of_row(questions, 0), ElementsAre("one", "a b"));
  DatasetOptions documents;
  documents.train = write("a.txt", "a\nb c\n\nd\n");
  documents.format = "text";
  documents.task = "next_sentence";
  documents.text = "0";
  documents.duplicates = 2;
  const Split pairs = load(documents);
  const int64_t last = pairs.rows() - 1;
  EXPECT_THAT(texts_of_row(pairs, last), ElementsAre("d"));
  EXPECT_THAT(texts_of_row(pairs, 0), ElementsAre("a", "b c"));
}

TEST_F(Texts, OfAChangedFileAreRefused) {
  const Split split = load(texts("a.tsv", "text\na\nb\n"));
  write("a.tsv", "text\na\nc\n");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { texts_of_row(split, 0); }),
              ::testing::HasSubstr("was changed after it was read"));
}

}  // namespace
}  // namespace compress::data
