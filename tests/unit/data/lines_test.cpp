// What a line is in data files: the same rows whatever the format and the line ends.

#include "files/annotated.h"

#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string byte_order_mark = "\xEF\xBB\xBF";

std::string with_ends(std::string text, std::string_view end) {
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += end.size())
    text.replace(at, 1, end);
  return text;
}

class LinesOfData : public DataTest {
 protected:
  std::string refused(const DatasetOptions& options) {
    return error_of(ErrorKind::data, [&] { load(options); });
  }
  // Loads the rows twice, from memory and through a cache, which must agree.
  Split both(DatasetOptions options) {
    Split split = load(options);
    options.cache = path("cache");
    const Split mapped = load(options);
    EXPECT_FALSE(mapped.cache.empty());
    EXPECT_EQ(mapped.ids, split.ids);
    EXPECT_EQ(mapped.offsets, split.offsets);
    EXPECT_EQ(mapped.lines, split.lines);
    EXPECT_EQ(mapped.token_classes, split.token_classes);
    EXPECT_EQ(mapped.empty_rows, split.empty_rows);
    EXPECT_EQ(mapped.blank_lines, split.blank_lines);
    return split;
  }
  void expect_texts(const DatasetOptions& options, const std::vector<std::string>& expected) {
    const Split split = both(options);
    ASSERT_EQ(split.rows(), static_cast<int64_t>(expected.size()));
    EXPECT_EQ(count_rows(options, "train"), split.rows());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_EQ(ids_of(split, static_cast<int64_t>(i)), ids_of(expected[i])) << expected[i];
  }
  DatasetOptions tags(std::string_view bytes) {
    auto options = dataset("a.conll", bytes);
    options.task = "token_classification";
    options.text = "0";
    options.label = "-1";
    options.labels = {"O", "B", "I"};
    return options;
  }
  void expect_words(const DatasetOptions& options, const std::vector<std::string>& sentences) {
    const Split split = load(options);
    ASSERT_EQ(split.rows(), static_cast<int64_t>(sentences.size()));
    EXPECT_EQ(count_rows(options, "train"), split.rows());
    for (size_t i = 0; i < sentences.size(); ++i)
      EXPECT_EQ(ids_of(split, static_cast<int64_t>(i)), ids_of(sentences[i])) << sentences[i];
  }
};

TEST_F(LinesOfData, TheSameRowsWhateverEndsThem) {
  for (const char* end : {"\n", "\r\n", "\r"})
    for (const std::string& mark : {std::string(), byte_order_mark}) {
      auto file = [&](const char* name, const std::string& text) {
        return texts(name, mark + with_ends(text, end));
      };
      const std::vector<std::string> rows = {"good film", "the bad one"};
      expect_texts(file("a.tsv", "text\tx\ngood film\t1\n\nthe bad one\t2\n"), rows);
      expect_texts(file("b.csv", "x,text\n1,good film\n\"2\",\"the bad one\""), rows);
      expect_texts(file("c.jsonl", "{\"text\": \"good film\"}\n\n{\"text\": \"the bad one\"}\n"),
                   rows);
      auto plain = file("d.tsv", "good film\nthe bad one\n");
      plain.header = false;
      plain.text = "0";
      expect_texts(plain, rows);
      auto conll = tags(mark + with_ends("good\tO\nfilm\tB\n\nthe O\n", "\n"));
      conll.train = write("e.conll", mark + with_ends("good O\nfilm B\n\nthe O\n", end));
      expect_words(conll, {"good film", "the"});
    }
}

TEST_F(LinesOfData, PlacesAreThoseOfTheLinesThatAreThere) {
  for (const char* end : {"\n", "\r\n", "\r"}) {
    const Split split = load(texts("a.csv", with_ends("text\n\"a\nb\"\n\nc\n", end)));
    EXPECT_THAT(split.lines, ElementsAre(2, 5));
    EXPECT_THAT(refused(texts("a.tsv", with_ends("text\tx\na\t1\nb\n", end))),
                HasSubstr("a.tsv:3: 1 of 2 rows"));
    EXPECT_THAT(refused(texts("a.tsv", with_ends("text\na\nb", end) + std::string(1, '\0'))),
                HasSubstr("a.tsv:3: a NUL byte"));
  }
}

TEST_F(LinesOfData, CarriageReturnsAmongLineFeedsAreCharacters) {
  expect_texts(texts("a.tsv", "text\tx\na\rb\t1\nc\t2\r\n"), {"a\rb", "c"});
  expect_texts(texts("b.tsv", "text\tx\n\ra\t1\n"), {"\ra"});
  auto first = texts("c.tsv", "a\rb\nc\n");
  first.header = false;
  first.text = "0";
  expect_texts(first, {"a\rb", "c"});
  EXPECT_THAT(refused(texts("d.csv", "x,text\r1,a\r2,b\n3,c\n")),
              HasSubstr("d.csv:1: the header holds carriage returns"));
}

TEST_F(LinesOfData, LineEndsInQuotedCellsAreCharacters) {
  expect_texts(texts("a.csv", "text,x\n\"a\rb\",1\nc,2\n"), {"a\rb", "c"});
  expect_texts(texts("b.csv", "text,x\r\"a\nb\",1\r\"c \"\"d\"\"\n\",2\r"), {"a\nb", "c \"d\"\n"});
  EXPECT_THAT(load(texts("b.csv", "text,x\r\"a\nb\",1\rc,2\r")).lines, ElementsAre(2, 3));
  expect_texts(texts("c.csv", "\"te\rxt\",text\r\n1,\"a\r\nb\r\"\r\n"), {"a\r\nb\r"});
}

TEST_F(LinesOfData, OtherSeparatorsOfUnicodeAreCharacters) {
  const std::string odd =
      "a\fb\vc\x1C"
      "d\xC2\x85"
      "e\xE2\x80\xA8"
      "f\xE2\x80\xA9g";
  expect_texts(texts("a.tsv", "text\tx\n" + odd + "\t1\n"), {odd});
  expect_texts(texts("b.csv", "text,x\n" + odd + ",1\n"), {odd});
  expect_texts(texts("c.jsonl", R"({"text": "a\fb\u000bc\u001cd\u0085e\u2028f\u2029g"})"
                                "\n"),
               {odd});
  expect_texts(texts("d.jsonl", "{\"text\": \"a\xC2\x85 b\xE2\x80\xA8 c\"}\n"),
               {"a\xC2\x85 b\xE2\x80\xA8 c"});
}

// Beyond a chunk (4 MB) and what is given back of the map (16 MB).
TEST_F(LinesOfData, LongFilesOfCarriageReturns) {
  std::string rows = byte_order_mark + "text\tx\r";
  const std::string wide(50000, ' ');
  for (int row = 0; row < 400; ++row) rows += str("w", row, wide, "v\t", row, "\r");
  const Split split = both(texts("a.tsv", rows));
  ASSERT_EQ(split.rows(), 400);
  EXPECT_EQ(ids_of(split, 399), ids_of("w399 v"));
  EXPECT_EQ(split.lines[399], 401);
}

TEST_F(LinesOfData, RowsWithoutTextOfLanguageModels) {
  for (const char* task : {"language_model", "unlabelled"})
    for (const auto& [name, rows, empty, lines] :
         std::vector<std::tuple<std::string, std::string, int64_t, std::vector<int64_t>>>{
             {"a.jsonl",
              "{\"text\": \"\"}\n{\"text\": \" a b \"}\n{\"text\": \"\"}\n{\"text\": \"c\"}\n",
              2,
              {2, 4}},
             {"a.tsv", "text\n\n a b \n\nc\n", 0, {3, 5}},
             {"a.csv", "text\n\"\"\n a b \n\"\"\nc\n", 2, {3, 5}},
             {"b.tsv", "x\ttext\n1\t\n2\t a b \n3\t\n4\tc\n", 2, {3, 5}}}) {
      auto options = texts(name, rows);
      options.task = task;
      const Split split = both(options);
      EXPECT_EQ(split.empty_rows, empty) << name;
      EXPECT_THAT(split.lines, ::testing::ElementsAreArray(lines)) << name;
      EXPECT_EQ(ids_of(split, 0), ids_of("a b"));
      EXPECT_EQ(ids_of(split, 1), ids_of("c"));
      EXPECT_EQ(count_rows(options, "train"), 2);
      options.limit = 1;  // of rows with text
      EXPECT_EQ(load(options).rows(), 1);
      EXPECT_EQ(count_rows(options, "train"), 1);
      options.train = write(name, rows.substr(0, rows.find('\n') + 1) + "\n");
      EXPECT_THAT(refused(options), ::testing::AnyOf(HasSubstr("none of 1 rows has a text"),
                                                     HasSubstr("has no rows")))
          << name;
    }
}

TEST_F(LinesOfData, ConcatenatedTextsWithoutTheEmptyOnes) {
  auto options = texts("a.jsonl", "{\"text\": \"\"}\n{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
  options.task = "language_model";
  options.concatenate = true;
  const Split split = both(options);
  EXPECT_EQ(split.empty_rows, 1);
  auto a = ids_of("a"), b = ids_of("b");
  a.insert(a.end(), b.begin(), b.end());
  EXPECT_EQ(ids_of(split, 0), a);
  EXPECT_EQ(split.lines[0], 2);
}

// Where rows have one cell, spaces are a text that a tokenizer may have tokens for.
TEST_F(LinesOfData, SpacesAreATextOfRowsWithOneCell) {
  class Bytes final : public text::Tokenizer {
   public:
    void encode(std::string_view text, std::optional<std::string_view>, const text::EncodeOptions&,
                text::Encoding& out) const override {
      out = {};
      for (char c : text) out.ids.push_back(static_cast<unsigned char>(c));
      out.first_length = static_cast<int64_t>(out.ids.size());
    }
    int64_t vocabulary_size() const override { return 256; }
    std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
    std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
    const text::SpecialIds& special_ids() const override { return ids_; }
    int64_t special_tokens_added(bool) const override { return 0; }
    std::string decode(std::span<const int32_t>, bool) const override { return {}; }
    const std::string& hash() const override { return hash_; }

   private:
    text::SpecialIds ids_;
    std::string hash_ = "bytes";
  };
  auto options = texts("a.tsv", "text\na\n  \n\nb\n");
  options.task = "language_model";
  const Split table = load_split(options, "train", Bytes());
  options.train = write(
      "a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"  \"}\n{\"text\": \"\"}\n{\"text\": \"b\"}\n");
  EXPECT_EQ(load_split(options, "train", Bytes()).ids, table.ids);
  EXPECT_THAT(table.ids, ElementsAre('a', ' ', ' ', 'b'));
}

TEST_F(LinesOfData, RowsWithoutTextOfOtherTasks) {
  EXPECT_THAT(refused(dataset("a.jsonl",
                              "{\"text\": \"a\", \"label\": 0}\n{\"text\": \"\", \"label\": 1}\n"
                              "{\"text\": \" \", \"label\": 1}\n")),
              AllOf(HasSubstr("a.jsonl:2: 2 of 3 rows"),
                    HasSubstr("line 2: the text has no tokens"), HasSubstr("line 3:")));
  auto options = dataset("a.tsv", "text\tother\tlabel\na\t\t0\n\tb\t1\n");
  options.pair = "other";
  EXPECT_EQ(load(options).rows(), 2);  // one of the two will do
  auto words = dataset("b.jsonl", "{\"text\": [], \"label\": []}\n");
  words.task = "token_classification";
  words.labels = {"O", "B"};
  EXPECT_THAT(refused(words), HasSubstr("line 1: the text has no words"));
  for (const char* word : {"", " ", "\xC2\xA0"}) {
    words.train =
        write("b.jsonl", str("{\"text\": [\"a\", \"", word, "\"], \"label\": [\"O\", \"B\"]}\n"));
    EXPECT_THAT(refused(words), HasSubstr("line 1: word 1 is empty or white space"));
  }
}

TEST_F(LinesOfData, HashSignsAreWordsOfConll) {
  const std::string_view words = "# O\nwin O\na O\nfilm B\n# I\none I\n\ngood O\n# O\nworld B\n";
  expect_words(tags(words), {"# win a film # one", "good # world"});
  std::string tabs(words);
  std::replace(tabs.begin(), tabs.end(), ' ', '\t');
  expect_words(tags(tabs), {"# win a film # one", "good # world"});
  auto options = tags(words);
  options.labels.clear();
  EXPECT_THAT(load(options).labels, ElementsAre("B", "I", "O"));
  expect_words(tags("a O\n\n# O\n\n#tag O\n#tag B\n"), {"a", "#", "#tag #tag"});
}

TEST_F(LinesOfData, CommentsOfConll) {
  // Another number of columns, before and between the words.
  expect_words(tags("# a comment of its own\na O\n# id = 5\nb B\n\n#\n#id 5 6\nc O\n"),
               {"a b", "c"});
  // As many columns as words have, before the words, with what is no label of the file.
  expect_words(tags("# newdoc\na O\nb O\n\n# newpar\nc B\n"), {"a b", "c"});
  expect_words(tags("# id 5239\tdomain=en\na _ _ O\nb _ _ B\n\n# id 7\tdomain=en\nc _ _ O\n"),
               {"a b", "c"});
  // Comments of CoNLL-U have no tabs, and words may have spaces.
  auto options = tags("# sent_id = 1\n# text = New York is\n1\tNew York\tB\n2\tis\tO\n");
  options.text = "1";
  const Split split = load(options);
  EXPECT_EQ(ids_of(split, 0), ids_of("New York is"));
  expect_words(tags("-DOCSTART- -X- O\n\na x O\n-DOCSTART-s x O\n"), {"a -DOCSTART-s"});
}

TEST_F(LinesOfData, ConllLinesWithoutAWord) {
  for (const auto& [rows, message] : std::vector<std::pair<std::string, std::string>>{
           {"james B\n I\nis O\n",
            "a.conll:2: 1 of 1 rows cannot be used:\n    line 2: the line "
            "begins with white space"},
           {"james\tB\nis\tO\n\tO\ngood\tO\n", "line 3: the word is empty or white space"},
           {"a\tB\n  \tO\n", "line 2: the word is empty or white space"},
           {"a\tB\n\xC2\xA0\tO\n", "line 2: the word is empty or white space"},
           {"a B\n\xE3\x80\x80 O\n", "line 2: the word is empty or white space"},
           {"a\tB\nb\t\n", "line 2: the label is empty or white space"},
           {"a\tx\tB\nb\ty\t\n", "line 2: the label is empty or white space"},
           {"a B\nb\nc O\n", "line 2: 1 column, and the sentence's first word has 2"},
           {"a x B\nb O\n", "line 2: 2 columns, and the sentence's first word has 3"},
           {"a B\n#\n", "line 2: 1 column, and"},
           {"a\n", "line 1: 1 column, and column 0 cannot be word and label"},
           {"c O\n\na\x1F"
            "b O\n",
            "line 3: a character U+001F"},
           {"c O\n\nd O\n\xFF O\n", "line 4: not valid UTF-8 at byte 1"}})
    EXPECT_THAT(refused(tags(rows)), HasSubstr(message)) << rows;
  expect_words(tags("a B\n \t \nb O \n"), {"a", "b"});  // blank lines may have spaces
}

TEST_F(LinesOfData, SentencesOfConllAsTexts) {
  auto options = texts("a.conll", "a O\nb B\n\nc O\n");
  options.text = "0";
  options.task = "language_model";
  expect_texts(options, {"a b", "c"});
}

TEST_F(LinesOfData, EmptyCellsAreEmptyCells) {
  expect_texts(texts("a.tsv", "x\ttext\ty\n\ta\t\n\tb\t\n"), {"a", "b"});
  expect_texts(texts("b.csv", "x,text,y\n,a,\n\"\",b,\"\"\n"), {"a", "b"});
  auto labelled = dataset("c.csv", "text,label,x\na,,1\nb,1,\n");
  EXPECT_THAT(refused(labelled),
              AllOf(HasSubstr("line 2: an empty label"), Not(HasSubstr("line 3"))));
}

TEST_F(LinesOfData, SeparatorsOfListsInsideCells) {
  auto words = dataset("a.tsv",
                       "text\tlabel\na\x1F"
                       "b\tO\n");
  words.task = "token_classification";
  words.labels = {"O", "B"};
  EXPECT_THAT(refused(words), HasSubstr("line 2: a character U+001F"));
}

}  // namespace
}  // namespace compress::data
