// Tagged words, answers in passages and choices.

#include "files/annotated.h"

#include "compress/data/passages.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Pieces of two letters, whose id is 10 + the first letter's place in the alphabet: [1] words [2]
// (words [2]).
class Pieces final : public text::Tokenizer {
 public:
  void encode(std::string_view text, std::optional<std::string_view> pair,
              const text::EncodeOptions& options, text::Encoding& out) const override {
    out = {};
    const bool special = options.add_special_tokens;
    auto add = [&](int32_t id, text::ByteRange range, bool added) {
      out.ids.push_back(id);
      out.offsets.push_back(range);
      out.special.push_back(added);
    };
    auto words = [&](std::string_view from) {
      for (size_t at = 0; at < from.size();) {
        if (from[at] == ' ') {
          ++at;
          continue;
        }
        size_t end = at + 1;
        if (end < from.size() && from[end] != ' ') ++end;
        add(10 + (from[at] - 'a'), {static_cast<uint32_t>(at), static_cast<uint32_t>(end)}, false);
        at = end;
      }
      if (special) add(2, {}, true);
    };
    if (special) add(1, {}, true);
    words(text);
    out.first_length = static_cast<int64_t>(out.ids.size());
    if (pair) words(*pair);
    const auto most = static_cast<size_t>(options.max_length);
    if (most > 0 && out.ids.size() > most) {
      out.ids.resize(most);
      out.offsets.resize(most);
      out.special.resize(most);
      out.first_length = std::min<int64_t>(out.first_length, options.max_length);
    }
  }
  int64_t vocabulary_size() const override { return 64; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
  const text::SpecialIds& special_ids() const override { return ids_; }
  int64_t special_tokens_added(bool pair) const override { return 2 + pair; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }

 private:
  text::SpecialIds ids_;
  std::string hash_ = "pieces";
};

std::vector<int64_t> longs(const torch::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

class Annotated : public DataTest {
 protected:
  DatasetOptions tags(const std::string& name, std::string_view bytes) {
    auto options = dataset(name, bytes);
    options.task = "token_classification";
    return options;
  }
  DatasetOptions questions(std::string_view rows, int64_t length = 128, int64_t stride = 1) {
    auto options = texts("q.tsv", "text\tpassage\tanswer\tat\n" + std::string(rows));
    options.task = "span";
    options.pair = "passage";
    options.answer = "answer";
    options.answer_start = "at";
    options.max_length = length;
    options.stride = stride;
    return options;
  }
  Split pieces(const DatasetOptions& options) {
    return load_split(options, "train", Pieces(), {}, 2);
  }
  std::string refused(const DatasetOptions& options) {
    return error_of(ErrorKind::data, [&] { pieces(options); });
  }
};

TEST_F(Annotated, TagsLieAtTheFirstTokensOfWords) {
  const auto options = tags("a.jsonl",
                            "{\"text\": [\"abc\", \"d\"], \"label\": [\"B-X\", \"O\"]}\n"
                            "{\"text\": [\"e\"], \"label\": [\"I-X\"]}\n");
  const Split split = pieces(options);
  EXPECT_THAT(split.labels, ElementsAre("B-X", "I-X", "O"));
  EXPECT_THAT(split.ids, ElementsAre(1, 10, 12, 13, 2, 1, 14, 2));
  EXPECT_THAT(split.token_classes, ElementsAre(-100, 0, -100, 2, -100, -100, 1, -100));
  EXPECT_TRUE(split.classes.empty());
  const Batch batch = pack(split, std::vector<int64_t>{1, 0});
  EXPECT_THAT(longs(batch.targets.token_labels),
              ElementsAre(-100, 1, -100, -100, 0, -100, 2, -100));
  EXPECT_THAT(batch.targets.labelled, ElementsAre(1, 4, 6));
  EXPECT_FALSE(batch.targets.distribution.defined());
  auto cached = options;
  cached.cache = path("cache");
  const Split mapped = pieces(cached);
  EXPECT_EQ(mapped.token_classes, split.token_classes);
  EXPECT_FALSE(mapped.cache.empty());
}

TEST_F(Annotated, ConllFilesAndTables) {
  auto options =
      tags("a.conll", "-DOCSTART- -X- O\n\nabc NN B-X\nd VB O\n\n# a comment\n\ne\tNN\tI-X\n");
  options.text = "0";
  options.label = "-1";
  const Split split = pieces(options);
  EXPECT_THAT(split.ids, ElementsAre(1, 10, 12, 13, 2, 1, 14, 2));
  EXPECT_THAT(split.token_classes, ElementsAre(-100, 0, -100, 2, -100, -100, 1, -100));
  EXPECT_THAT(split.lines, ElementsAre(3, 8));
  EXPECT_EQ(count_rows(options, "train"), 2);
  const Split table = pieces(tags("b.tsv", "text\tlabel\nabc  d\tB-X O\ne\tI-X\n"));
  EXPECT_EQ(table.ids, split.ids);
  EXPECT_EQ(table.token_classes, split.token_classes);
  options.label = "5";
  EXPECT_THAT(refused(options), AllOf(HasSubstr("a.conll:3"), HasSubstr("3 columns")));
  options.label = "tag";
  EXPECT_THAT(refused(options), HasSubstr("-1 the last one"));
}

TEST_F(Annotated, WordsWithASkippedLabelHaveNoClass) {
  auto options = tags("a.tsv", "text\tlabel\na b c\tX - Y\nd\t-\n");
  options.skip_labels = {"-"};
  const Split split = pieces(options);
  EXPECT_THAT(split.labels, ElementsAre("X", "Y"));
  EXPECT_THAT(split.token_classes, ElementsAre(-100, 0, -100, 1, -100, -100, -100, -100));
  EXPECT_EQ(split.skipped, 0);
  EXPECT_EQ(count_rows(options, "train"), 2);
}

TEST_F(Annotated, CutSentencesAndBadTags) {
  auto options = tags("a.tsv", "text\tlabel\nabc d\tX O\n");
  options.max_length = 3;
  EXPECT_THAT(pieces(options).token_classes, ElementsAre(-100, 1, -100));
  EXPECT_THAT(refused(tags("b.tsv", "text\tlabel\na b\tX O\na b\tX\n")),
              AllOf(HasSubstr("b.tsv:3"), HasSubstr("1 labels for 2 words")));
  EXPECT_THAT(refused(tags("c.jsonl", "{\"text\": \"a\", \"label\": [\"X\", \"O\"]}\n")),
              HasSubstr("is not a list"));
  auto named = tags("d.tsv", "text\tlabel\na b\tX Y\n");
  named.labels = {"X", "O"};
  EXPECT_THAT(refused(named), HasSubstr("none of the 2 classes"));
}

TEST_F(Annotated, AnAnswerInOneWindow) {
  const auto options = questions("q\taa bbcc dd\tcc d\t5\nq\tzz\t\t\n");
  const Split split = pieces(options);
  // [1] q [2] aa bb cc dd [2]
  EXPECT_THAT(split.ids, ElementsAre(1, 26, 2, 10, 11, 12, 13, 2, 1, 26, 2, 35, 2));
  EXPECT_THAT(split.first_lengths, ElementsAre(3, 3));
  EXPECT_THAT(split.spans, ElementsAre(5, 6, 0, 0));
  const Batch batch = pack(split, std::vector<int64_t>{1, 0});
  EXPECT_THAT(longs(batch.targets.spans), ElementsAre(0, 0, 5, 6));
  EXPECT_THAT(longs(slice(batch, 1, 2).targets.spans), ElementsAre(5, 6));
  const Passages& passages = passages_of(split, Pieces());
  EXPECT_EQ(passages.text_of(0, 5, 6), "cc dd");
  EXPECT_THAT(passages.examples[0].answers, ElementsAre("cc d"));
  EXPECT_TRUE(passages.examples[1].answers.empty());
}

TEST_F(Annotated, LongPassagesAreCutIntoWindows) {
  // Room for 3 of the passage's 5 tokens, and windows that share one.
  auto options = questions("q\taa bb cc dd ee\tdd\t9\n", 7);
  const Split split = pieces(options);
  EXPECT_THAT(ids_of(split, 0), ElementsAre(1, 26, 2, 10, 11, 12, 2));
  EXPECT_THAT(ids_of(split, 1), ElementsAre(1, 26, 2, 12, 13, 14, 2));
  EXPECT_EQ(split.rows(), 2);
  EXPECT_THAT(split.spans, ElementsAre(0, 0, 4, 4));
  EXPECT_THAT(split.lines, ElementsAre(2, 2));
  const Passages& passages = passages_of(split, Pieces());
  EXPECT_EQ(passages.windows[1].example, 0);
  EXPECT_EQ(passages.text_of(1, 3, 4), "cc dd");
  options.cache = path("cache");
  EXPECT_EQ(pieces(options).spans, split.spans);
  options.max_length = 4;
  EXPECT_THAT(refused(options), HasSubstr("no room for the passage"));
}

TEST_F(Annotated, AStrideThatLeavesNoStep) {
  const std::string long_row = "q\taa bb cc dd ee\tdd\t9\n";  // room for 3 of 7
  EXPECT_THAT(refused(questions(long_row, 7, 3)),
              AllOf(HasSubstr("q.tsv:2"), HasSubstr("a stride of 3 leaves no step"),
                    HasSubstr("of `max_length` 7 the question takes 1 and special tokens 3"),
                    HasSubstr("room for 3 of the passage's 5 tokens"), HasSubstr("below 3")));
  EXPECT_EQ(pieces(questions(long_row, 7, 2)).rows(), 3);
  EXPECT_EQ(pieces(questions("q\taa bb cc\tcc\t6\n", 7, 6)).rows(), 1);  // one window, no step
  EXPECT_THAT(refused(questions("\taa bb\tbb\t3\n")), HasSubstr("the question has no tokens"));
}

TEST_F(Annotated, TheStrideThatFollowsFromTheLength) {
  std::string passage;
  for (int i = 0; i < 60; ++i) passage += "aa ";
  auto options = questions("q\t" + passage + "bb\tbb\t180\n", 30);
  options.stride.reset();
  // 61 tokens, room for 26, windows that share 10: 0, 16, 32, 48.
  EXPECT_EQ(pieces(options).rows(), 4);
  options = questions("a b c d e f g h i j k l m n o p q r s t\t" + passage + "bb\tbb\t180\n", 30);
  options.stride.reset();
  // The question leaves room for 7: windows share 3, a step is 4.
  EXPECT_EQ(pieces(options).rows(), 15);
}

TEST_F(Annotated, PassagesAreReadOnce) {
  const auto options = questions("q\taa bb\tbb\t3\n");
  const Split split = pieces(options), other = pieces(options), copy = split;
  const Passages& first = passages_of(split, Pieces());
  write("q.tsv", "text\tpassage\tanswer\tat\nq\taa cc\tcc\t3\n");
  EXPECT_EQ(&passages_of(split, Pieces()), &first);
  EXPECT_EQ(&passages_of(copy, Pieces()), &first);
  EXPECT_EQ(first.text_of(0, 4, 4), "bb");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { passages_of(other, Pieces()); }),
              HasSubstr("was changed after it was read"));
}

TEST_F(Annotated, AnswersThatAreNotThere) {
  EXPECT_THAT(refused(questions("q\taa bb\tcc\t0\n")),
              AllOf(HasSubstr("q.tsv:2"), HasSubstr("is not in the passage at character 0")));
  EXPECT_THAT(refused(questions("q\taa bb\tbb\tx\n")), HasSubstr("not a number"));
  auto options = questions("q\taa bb bb\tbb\t\n");
  options.answer_start.clear();
  EXPECT_THAT(pieces(options).spans, ElementsAre(4, 4));   // the first of them
  EXPECT_TRUE(find_answer("\xC3\xA4 bb", "bb", 2).found);  // characters, not bytes
  EXPECT_FALSE(find_answer("ab", "b", 7).found);
}

TEST_F(Annotated, SquadFiles) {
  auto options = questions("");
  options.format = "squad";
  options.train = write("s.json", R"({"version": "2", "data": [{"title": "t", "paragraphs": [
    {"context": "aa bbcc dd", "qas": [
      {"id": "1", "question": "q", "answers": [{"text": "bb", "answer_start": 3},
                                               {"text": "bbcc", "answer_start": 3}]},
      {"id": "2", "question": "q", "is_impossible": true, "answers": []}]}]}]})");
  const Split split = pieces(options);
  EXPECT_EQ(split.rows(), 2);
  EXPECT_THAT(split.spans, ElementsAre(4, 4, 0, 0));
  EXPECT_EQ(count_rows(options, "train"), 2);
  const Passages& passages = passages_of(split, Pieces());
  EXPECT_THAT(passages.examples[0].answers, ElementsAre("bb", "bbcc"));
  EXPECT_TRUE(passages.examples[1].answers.empty());
  for (const char* bad : {"[1]", "{", R"({"data": [{}]})"}) {
    options.train = write("s.json", bad);
    EXPECT_THAT(refused(options), HasSubstr("not in SQuAD's format")) << bad;
  }
  options.train = write("s.json", "{\"data\":\n [\n {]}");
  EXPECT_THAT(refused(options), HasSubstr("not valid JSON at line 3, byte 15"));
}

TEST_F(Annotated, SquadFilesWithoutQuestions) {
  auto options = questions("");
  options.format = "squad";
  options.train = write("s.json", R"({"data": []})");
  const std::string told = refused(options);
  EXPECT_THAT(told, HasSubstr("the data file has no rows"));
  EXPECT_THAT(told, testing::Not(HasSubstr("header")));
}

TEST_F(Annotated, QuestionsOfOneIdWouldLoseAnAnswer) {
  auto options = questions("");
  options.format = "squad";
  options.train = write("s.json", R"({"data": [{"paragraphs": [{"context": "aa bb", "qas": [
      {"id": "1", "question": "q", "answers": []}, {"id": "1", "question": "q r"},
      {"id": "2", "question": "q"}]}]}]})");
  EXPECT_THAT(refused(options), HasSubstr("question 2: it has the id \"1\", as question 1 has"));
  options.bad_rows = "skip";
  const Split kept = pieces(options);
  EXPECT_EQ(kept.rows(), 2);
  EXPECT_EQ(kept.place(1), path("s.json") + ", question 3");
  options.train = write("s.json", R"({"data": [{"paragraphs": [{"context": "aa bb", "qas": [
      {"id": 7, "question": "q", "answers": []}, {"question": "q"}]}]}]})");
  const Split numbered = pieces(options);
  EXPECT_EQ(passages_of(numbered, Pieces()).examples[0].id, "7");
  EXPECT_EQ(passages_of(numbered, Pieces()).examples[1].id, "2");
}

TEST_F(Annotated, AnswersOfSquadFilesThatAreNone) {
  auto options = questions("");
  options.format = "squad";
  const auto told = [&](const std::string& answers) {
    options.train = write("s.json", R"({"data": [{"paragraphs": [{"context": "\u00e4a bb", "qas": [
      {"id": "1", "question": "q", "answers": )" +
                                        answers + "}]}]}]}");
    return refused(options);
  };
  // As `datasets` keeps them: without this they would count as a question without answer.
  EXPECT_THAT(told(R"({"text": ["bb"], "answer_start": [3]})"),
              HasSubstr("question 1: its \"answers\" are no list"));
  EXPECT_THAT(told(R"(["bb"])"), HasSubstr("has an answer without text or answer_start"));
  EXPECT_THAT(told(R"([{"text": "bb", "answer_start": 3.0}])"), HasSubstr("answer_start"));
  EXPECT_THAT(told(R"([{"text": "bb", "answer_start": -1}])"), HasSubstr("not a number from 0"));
  EXPECT_THAT(told(R"([{"text": "bb", "answer_start": 18446744073709551615}])"),
              HasSubstr("answer_start"));
  // In bytes, and beyond the passage.
  EXPECT_THAT(told(R"([{"text": "bb", "answer_start": 4}])"),
              AllOf(HasSubstr("at character 4"), HasSubstr("characters, not bytes")));
  EXPECT_THAT(told(R"([{"text": "bb", "answer_start": 99}])"), HasSubstr("at character 99"));
}

// ARC has keys 1 to 4 beside A to D: never the choice of that number by accident.
TEST_F(Annotated, AChoiceWithANameIsNotFoundByNumber) {
  auto options = dataset("c.tsv", "text\tone\ttwo\tlabel\nab\tc\td\tB\ne\tf\tg\t1\n");
  options.task = "multiple_choice";
  options.choices = {"one", "two"};
  options.labels = {"A", "B"};
  EXPECT_THAT(refused(options), HasSubstr("line 3: label \"1\" is none of the 2 classes"));
}

TEST_F(Annotated, ChoicesOfOneExampleLieTogether) {
  auto options = dataset("c.tsv", "text\tone\ttwo\tlabel\nab\tc\td\t1\ne\tf\tg\t0\n");
  options.task = "multiple_choice";
  options.choices = {"one", "two"};
  const Split split = pieces(options);
  EXPECT_EQ(split.rows(), 2);
  EXPECT_EQ(split.length(0), 10);
  EXPECT_THAT(split.labels, ElementsAre("0", "1"));
  EXPECT_THAT(split.ids, ElementsAre(1, 10, 2, 12, 2, 1, 10, 2, 13, 2,  //
                                     1, 14, 2, 15, 2, 1, 14, 2, 16, 2));
  EXPECT_EQ(split.place(1), path("c.tsv") + ":3");
  const Batch batch = pack(split, std::vector<int64_t>{1, 0});
  EXPECT_EQ(batch.rows(), 4);
  EXPECT_EQ(batch.examples(), 2);
  EXPECT_THAT(batch.example_ids, ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(batch.row_offsets, ElementsAre(0, 5, 10, 15, 20));
  EXPECT_THAT(longs(batch.segment_ids.slice(0, 0, 5)), ElementsAre(0, 0, 0, 1, 1));
  EXPECT_TRUE(
      torch::equal(batch.targets.distribution, torch::tensor({{1.0f, 0.0f}, {0.0f, 1.0f}})));
  const Batch last = slice(batch, 2, 4);
  EXPECT_TRUE(torch::equal(last.targets.distribution, torch::tensor({{0.0f, 1.0f}})));
  EXPECT_EQ(last.choices, 2);
  EXPECT_THROW(slice(batch, 1, 3), Error);
  auto cached = options;
  cached.cache = path("cache");
  const Split mapped = pieces(cached);
  EXPECT_EQ(mapped.rows(), 2);
  EXPECT_EQ(mapped.classes, split.classes);
  options.labels = {"A", "B"};
  EXPECT_THAT(refused(options), HasSubstr("none of the 2 classes"));
}

}  // namespace
}  // namespace compress::data
