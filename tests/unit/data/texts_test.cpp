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

}  // namespace
}  // namespace compress::data
