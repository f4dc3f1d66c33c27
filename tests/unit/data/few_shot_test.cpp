// Prompts whose answers are compared, gaps, several accepted texts, files beside each other.

#include "compress/data/compose.h"
#include "compress/data/loader.h"
#include "compress/data/passages.h"
#include "compress/data/task.h"
#include "files/contents.h"
#include "files/reader.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string standins = COMPRESS_SOURCE_DIR "/tests/standins/";

// Words without special tokens, with [MASK] as its mask, which is a word by itself wherever it is.
class Masked final : public text::Tokenizer {
 public:
  Masked() { special_.mask = SpaceTokenizer::word("[MASK]"); }
  void encode(std::string_view text, std::optional<std::string_view> pair,
              const text::EncodeOptions& options, text::Encoding& out) const override {
    std::string spaced(text);
    for (size_t at = 0; (at = spaced.find("[MASK]", at)) != std::string::npos; at += 8)
      spaced.replace(at, 6, " [MASK] ");
    words_.encode(spaced, pair, options, out);
  }
  int64_t vocabulary_size() const override { return 1 << 30; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return "[MASK]"; }
  const text::SpecialIds& special_ids() const override { return special_; }
  int64_t special_tokens_added(bool) const override { return 0; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }

 private:
  SpaceTokenizer words_{false};
  text::SpecialIds special_;
  std::string hash_ = "masked";
};

std::vector<int32_t> words(std::string_view text) {
  text::Encoding out;
  SpaceTokenizer(false).encode(text, std::nullopt, {}, out);
  return out.ids;
}

DatasetOptions read(const std::string& yaml, std::string* told = nullptr) {
  recipe::Problems problems;
  DatasetOptions options;
  recipe::Type<DatasetOptions>::read(recipe::parse_text(yaml), options, problems);
  std::string text;
  for (const auto& problem : problems.list()) text += problem.what + "\n";
  if (told != nullptr)
    *told = text;
  else
    EXPECT_EQ(text, "") << yaml;
  return options;
}

class FewShot : public DataTest {};

TEST_F(FewShot, AnswersOfClassesAreTheTargets) {
  DatasetOptions options;
  options.train = write("train.tsv", "text\tlabel\nfine film\t1\ndull\t0\n");
  options.text = "{text} it was";
  options.label = "label";
  options.task = "prompted";
  options.labels = {"0", "1"};
  options.verbalizer = {"terrible", "really great"};
  const Split split = load_split(options, "train", SpaceTokenizer(false));
  EXPECT_THAT(split.classes, ElementsAre(1, 0));
  EXPECT_TRUE(split.answers);
  EXPECT_EQ(ids_of(split, 0), words("fine film it was really great"));
  EXPECT_EQ(split.first_lengths[0], 4);
  ASSERT_EQ(split.options.size(), 2u);
  EXPECT_EQ(split.options[1], words("really great"));
  // Every token of the answer has the mark, and a label; there is no distribution over classes.
  const Batch batch = pack(split, std::vector<int64_t>{0, 1});
  EXPECT_FALSE(batch.targets.distribution.defined());
  EXPECT_EQ(batch.targets.mark(answer_mark)->update, 3);
  // Names of the training file, which answer for themselves.
  options.labels.clear();
  options.verbalizer.clear();
  const Split named = load_split(options, "train", SpaceTokenizer(false));
  EXPECT_THAT(named.labels, ElementsAre("0", "1"));
  EXPECT_EQ(ids_of(named, 1), words("dull it was 0"));
  EXPECT_NE(named.content_hash, split.content_hash);
}

TEST_F(FewShot, MistakesOfPromptsAreTold) {
  std::string told;
  read("{train: a.tsv, text: t, label: y, task: prompted, labels: [a, b], verbalizer: [x]}", &told);
  EXPECT_THAT(told, HasSubstr("1 texts for 2 labels"));
  read("{train: a.tsv, text: t, label: y, task: prompted, labels: [a, b], verbalizer: [x, x]}",
       &told);
  EXPECT_THAT(told, HasSubstr("answers for two classes"));
  read("{train: a.tsv, text: t, label: y, verbalizer: [x]}", &told);
  EXPECT_THAT(told, HasSubstr("`verbalizer` needs `task: prompted`"));
  read("{train: a.tsv, text: t, task: language_model, references: [r]}", &told);
  EXPECT_THAT(told, HasSubstr("beside a `target`"));
}

TEST_F(FewShot, DemonstrationsAreTheSameWhateverTheAnswerAndOthersInEachVote) {
  std::string rows = "text\tlabel\n";
  for (int i = 0; i < 12; ++i) rows += str("q", i, "\t", i % 2 == 0 ? "yes" : "no", "\n");
  DatasetOptions options;
  options.train = write("train.tsv", rows);
  options.validation = write("dev.tsv", "text\tlabel\nasked\tno\n");
  options.text = "text";
  options.label = "label";
  options.task = "prompted";
  options.labels = {"no", "yes"};
  options.verbalizer = {"no", "yes it is so"};
  recipe::Problems problems;
  composers().read(recipe::parse_text("{demonstrations: {count: 2, separator: ;, votes: 3, "
                                      "max_length: 10}}"),
                   options.compose, problems);
  problems.raise();
  const Split split = load_split(options, "validation", SpaceTokenizer(false));
  EXPECT_EQ(split.composer->votes(), 3);
  auto shown = [&](const Split& of, int64_t vote) {
    std::vector<int32_t> ids;
    for (const auto run : of.composer->compose(of, 0, Composer::vote_draw(vote)))
      ids.insert(ids.end(), run.begin(), run.end());
    return ids;
  };
  // The longest answer, of four tokens, has room: 1 + 4, and one demonstration of 3 (or none of 6).
  const std::vector<int32_t> first = shown(split, 0);
  EXPECT_LE(first.size() - 1, 6u);
  Split tried = split;
  tried.ids.edit() = words("asked yes it is so");
  tried.offsets.edit() = {0, 5};
  std::vector<int32_t> longer = shown(tried, 0);
  longer.resize(longer.size() - 4);
  std::vector<int32_t> shorter = first;
  shorter.pop_back();
  EXPECT_EQ(longer, shorter);
  EXPECT_EQ(Composer::vote_draw(0), 0u);
  EXPECT_NE(shown(split, 1), shown(split, 2));
}

TEST_F(FewShot, AGapIsOneTokenOfTheText) {
  DatasetOptions options;
  options.test = write("test.jsonl",
                       "{\"text\": \"Ada lives in [MASK] .\", \"word\": \"Riga\"}\n"
                       "{\"text\": \"no gap\", \"word\": \"Riga\"}\n"
                       "{\"text\": \"[MASK] and [MASK]\", \"word\": \"Riga\"}\n"
                       "{\"text\": \"Bo lives in [MASK]\", \"word\": \"New York\"}\n"
                       "{\"text\": \"[MASK] is a town\", \"word\": \" Riga \"}\n");
  options.text = "text";
  options.target = "word";
  options.task = "cloze";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_split(options, "test", Masked()); }),
              AllOf(HasSubstr("3 of 5 rows"), HasSubstr("line 2: the text has no [MASK]"),
                    HasSubstr("line 4: \"New York\" is 2 tokens of the vocabulary")));
  options.bad_rows = "skip";
  const Split split = load_split(options, "test", Masked());
  EXPECT_THAT(split.lines, ElementsAre(1, 5));
  const int32_t riga = SpaceTokenizer::word("Riga");
  EXPECT_THAT(split.token_classes,
              ElementsAre(-100, -100, -100, riga, -100, riga, -100, -100, -100));
  const Batch batch = pack(split, std::vector<int64_t>{0, 1});
  EXPECT_THAT(batch.targets.labelled, ElementsAre(3, 5));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_split(options, "test", SpaceTokenizer()); }),
              HasSubstr("no mask token"));
}

TEST_F(FewShot, SeveralAcceptedTextsFromFiles) {
  DatasetOptions options;
  options.task = "sequence_to_sequence";
  options.text = "text";
  options.target = "target";
  options.test = write("list.jsonl",
                       "{\"text\": \"a\", \"target\": [\"one\", \"1\"]}\n"
                       "{\"text\": \"b\", \"target\": \"two\"}\n");
  using Accepted = std::vector<std::vector<std::string>>;
  const Split list = load_split(options, "test", SpaceTokenizer());
  EXPECT_EQ(references_of(list), (Accepted{{"one", "1"}, {"two"}}));
  // The first is what is learnt.
  const std::vector<int32_t> target(list.ids.begin() + list.first_lengths[0],
                                    list.ids.begin() + list.offsets[1]);
  EXPECT_EQ(target, ids_of("one"));
  // Further columns; an empty cell is none.
  options.references = {"second", "third"};
  options.test =
      write("columns.tsv", "text\ttarget\tsecond\tthird\na\tone\t1\teins\nb\ttwo\t\tzwei\n");
  EXPECT_EQ(references_of(load_split(options, "test", SpaceTokenizer())),
            (Accepted{{"one", "1", "eins"}, {"two", "zwei"}}));
  // Rows of any width.
  options.references.clear();
  options.header = false;
  options.text = "0";
  options.target = "1..";
  options.test = write("ragged.tsv", "a\tone\nb\ttwo\t2\tzwei\n");
  EXPECT_EQ(references_of(load_split(options, "test", SpaceTokenizer())),
            (Accepted{{"one"}, {"two", "2", "zwei"}}));
  options.test = write("short.tsv", "a\tone\nb\n");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_split(options, "test", SpaceTokenizer()); }),
              HasSubstr("a short row: 1 cells, and column 1 is asked for"));
  // Reference files beside the sources.
  options.test = write("sources.txt", "a\nb\n") + " | " + write("first.txt", "one\ntwo\n") + " | " +
                 write("second.txt", "1\n2");
  EXPECT_EQ(references_of(load_split(options, "test", SpaceTokenizer())),
            (Accepted{{"one", "1"}, {"two", "2"}}));
}

TEST_F(FewShot, FilesBesideEachOtherHaveTheSameLines) {
  const std::string one = write("one.txt", "a\r\nb\r\n"),
                    two = write("two.txt",
                                "\xEF\xBB\xBF"
                                "c\nd\n"),
                    three = write("three.txt", "e\n");
  DatasetOptions options;
  options.task = "unlabelled";
  options.header = false;
  options.text = "{1} {2}";
  options.group = "0";
  options.test = "=x | " + one + " | " + two + " + =y | " + three + " | " + three;
  const Split split = load_split(options, "test", SpaceTokenizer(false));
  ASSERT_EQ(split.rows(), 3);
  EXPECT_EQ(ids_of(split, 1), words("b d"));
  EXPECT_EQ(split.groups[2], group_number("y"));
  EXPECT_THAT(split.place(2), HasSubstr("three.txt"));
  EXPECT_THAT(split.place(2), HasSubstr(":1"));
  EXPECT_TRUE(can_be_read(options.test.file));
  options.test = one + " | " + three;
  EXPECT_THAT(
      error_of(ErrorKind::data, [&] { load_split(options, "test", SpaceTokenizer(false)); }),
      HasSubstr("fewer than"));
  options.test = three + " | " + one;
  EXPECT_THAT(
      error_of(ErrorKind::data, [&] { load_split(options, "test", SpaceTokenizer(false)); }),
      HasSubstr("more lines than"));
  EXPECT_FALSE(can_be_read(one + " | " + path("none.txt")));
}

TEST_F(FewShot, ParquetIsRefusedByName) {
  if (reads_parquet()) GTEST_SKIP() << "this build reads it (domains_test.cpp)";
  DatasetOptions options = texts("rows.parquet", std::string("PAR1\0 and so on PAR1", 20));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_split(options, "train", SpaceTokenizer()); }),
              HasSubstr("reads no Parquet"));
  options = texts("renamed.tsv", std::string("PAR1\0 and so on PAR1", 20));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_split(options, "train", SpaceTokenizer()); }),
              HasSubstr("tools/parquet2jsonl"));
  std::string told;
  read("{train: rows.parquet, text: t, task: unlabelled}", &told);
  EXPECT_THAT(told, HasSubstr("reads no Parquet"));
}

TEST_F(FewShot, CrossFitsTasksAsTheyAreWritten) {
  const DatasetOptions options = read("{layout: crossfit/classification, folder: " + standins +
                                      "crossfit/glue-sst2/glue-sst2_16_13}");
  const Split train = load_split(options, "train", SpaceTokenizer(false));
  EXPECT_THAT(train.labels, ElementsAre("negative", "positive"));
  EXPECT_THAT(train.classes, ElementsAre(1, 0, 1, 0));
  EXPECT_EQ(ids_of(train, 1), words("sentence: a dull \"film\n negative"));
  EXPECT_EQ(load_split(options, "test", SpaceTokenizer(false)).rows(), 3);
  EXPECT_THAT(metrics_of(options), ElementsAre("f1_macro", "accuracy"));
  const DatasetOptions texts = read("{layout: crossfit/text, folder: " + standins +
                                    "crossfit/squad-no_context/squad-no_context_32_13}");
  EXPECT_EQ(references_of(load_split(texts, "train", SpaceTokenizer(false)))[0].size(), 3u);
  EXPECT_EQ(load_split(texts, "test", SpaceTokenizer(false)).rows(), 2);
}

TEST_F(FewShot, LamasFactsAreGapsOfTemplates) {
  auto load = [&](const char* name) {
    return load_split(read(str("{layout: lama/", name, ", folder: ", standins, "lama}")), "test",
                      Masked());
  };
  const Split trex = load("trex");
  // Each fact once; "New York" is no single token.
  ASSERT_EQ(trex.rows(), 3);
  EXPECT_EQ(ids_of(trex, 0), words("Ada Lund was born in [MASK] ."));
  EXPECT_EQ(ids_of(trex, 1), words("The capital of France is [MASK] ."));
  EXPECT_NE(trex.groups[0], trex.groups[1]);
  EXPECT_EQ(trex.groups[1], trex.groups[2]);
  EXPECT_THAT(trex.metrics, testing::Contains("vocabulary_precision_mean@10"));
  EXPECT_EQ(load("google_re").rows(), 2);
  const Split concepts = load("conceptnet");
  EXPECT_EQ(concepts.rows(), 0 + 1) << "a text of more than 100 words is left out";
  EXPECT_EQ(load("squad").rows(), 1);
  DatasetOptions lost = read("{layout: lama/trex, folder: " + standins + "lama}");
  lost.folder = path("nowhere");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load_split(lost, "test", Masked()); }),
              HasSubstr("templates"));
}

}  // namespace
}  // namespace compress::data
