#include "rows/documents.h"

#include <map>
#include <set>

#include "compress/data/task.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Pairs : public DataTest {
 protected:
  DatasetOptions documents(const std::string& name, std::string_view bytes) const {
    DatasetOptions options;
    options.train = write(name, bytes);
    options.format = name.ends_with(".jsonl") ? "" : "text";
    options.text = name.ends_with(".jsonl") ? "text" : "0";
    options.task = "next_sentence";
    return options;
  }
};

std::vector<int32_t> words(std::initializer_list<const char*> list) {
  std::vector<int32_t> ids;
  for (const std::string word : list)
    ids.push_back(word == "1" ? 1 : word == "2" ? 2 : SpaceTokenizer::word(word));
  return ids;
}

// One sentence a document leaves nothing to draw: it is A, and B is the other one.
TEST_F(Pairs, ADocumentOfOneSentenceIsFollowedByAnother) {
  const Split split = load(documents("a.txt", "\na b\n \n\nc d e\r\n"));
  ASSERT_EQ(split.rows(), 2);
  EXPECT_EQ(ids_of(split, 0), words({"1", "a", "b", "2", "c", "d", "e", "2"}));
  EXPECT_EQ(ids_of(split, 1), words({"1", "c", "d", "e", "2", "a", "b", "2"}));
  EXPECT_THAT(split.first_lengths, ElementsAre(4, 5));
  EXPECT_THAT(split.labels, ElementsAre("is_next", "not_next"));
  EXPECT_THAT(split.classes, ElementsAre(1, 1));
  EXPECT_THAT(split.lines, ElementsAre(2, 5));
  const Batch batch = pack(split, std::vector<int64_t>{0, 1});
  EXPECT_TRUE(torch::equal(batch.segment_ids, torch::tensor({0, 0, 0, 0, 1, 1, 1, 1,  //
                                                             0, 0, 0, 0, 0, 1, 1, 1})));
  EXPECT_TRUE(torch::equal(batch.targets.distribution, torch::tensor({{0.f, 1.f}, {0.f, 1.f}})));
}

// Sentences s of documents d as words "d.s.w", and whose each word is.
struct Made {
  explicit Made(int documents, int sentences, int length) {
    for (int d = 0; d < documents; ++d) {
      for (int s = 0; s < sentences; ++s)
        for (int w = 0; w < length; ++w) {
          const std::string word = str(d, ".", s, ".", w);
          text += word + (w + 1 < length ? " " : "\n");
          places[SpaceTokenizer::word(word)] = {d, s, w};
        }
      text += "\n";
    }
  }
  std::string text;
  std::map<int32_t, std::array<int, 3>> places;
};

// The words of A and B of a row, as places.
std::vector<std::vector<std::array<int, 3>>> texts_of(const Split& split, int64_t row,
                                                      const Made& made) {
  std::vector<std::vector<std::array<int, 3>>> texts(2);
  const std::vector<int32_t> ids = ids_of(split, row);
  for (size_t t = 0; t < ids.size(); ++t)
    if (ids[t] > 2)
      texts[t < static_cast<size_t>(split.first_lengths[static_cast<size_t>(row)]) ? 0 : 1]
          .push_back(made.places.at(ids[t]));
  return texts;
}

TEST_F(Pairs, HalfOfThemGoOnAndEverySentenceIsReadOnce) {
  const Made made(200, 6, 3);
  DatasetOptions options = documents("a.txt", made.text);
  const Split split = load(options);
  int64_t next = 0;
  std::map<std::pair<int, int>, int> seen;  // sentences, where they stand in their document's rows
  for (int64_t row = 0; row < split.rows(); ++row) {
    const auto texts = texts_of(split, row, made);
    const bool goes_on = split.classes[static_cast<size_t>(row)] == 0;
    const auto [document, last, word] = texts[0].back();
    EXPECT_EQ(word, 2);
    EXPECT_EQ(goes_on, texts[1].front()[0] == document) << row;
    if (goes_on) {
      EXPECT_EQ(texts[1].front(), (std::array{document, last + 1, 0}));
    }
    next += goes_on;
    for (size_t text = 0; text < (goes_on ? 2u : 1u); ++text)
      for (const auto& [d, s, w] : texts[text])
        if (w == 0) ++seen[{d, s}];
  }
  EXPECT_EQ(seen.size(), 1200u);
  for (const auto& [sentence, times] : seen) EXPECT_EQ(times, 1) << sentence.first;
  // A document's last sentence is often alone, and then never goes on.
  EXPECT_GT(next, split.rows() / 4);
  EXPECT_LT(next, split.rows() / 2);

  options.duplicates = 2;
  const Split twice = load(options);
  EXPECT_NE(twice.content_hash, split.content_hash);
  std::set<std::vector<int32_t>> first, second;
  for (int64_t row = 0; row < split.rows(); ++row) {
    EXPECT_EQ(ids_of(twice, row), ids_of(split, row));
    first.insert(ids_of(twice, row));
  }
  int64_t other = 0;
  for (int64_t row = split.rows(); row < twice.rows(); ++row)
    other += first.count(ids_of(twice, row)) == 0;
  EXPECT_GT(other, (twice.rows() - split.rows()) / 2);
  EXPECT_NE(source_hash(options, "train"), source_hash(documents("a.txt", made.text), "train"));
}

TEST_F(Pairs, RowsAreCutToTheirLength) {
  const Made made(40, 30, 5);
  DatasetOptions options = documents("a.txt", made.text);
  options.max_length = 24;
  const Split split = load(options);
  int64_t full = 0, cut_in_front = 0;
  for (int64_t row = 0; row < split.rows(); ++row) {
    EXPECT_LE(split.length(row), 24);
    full += split.length(row) == 24;
    const auto texts = texts_of(split, row, made);
    ASSERT_FALSE(texts[0].empty());
    ASSERT_FALSE(texts[1].empty());
    cut_in_front += texts[0].front()[2] != 0 || texts[1].front()[2] != 0;
  }
  EXPECT_GT(full, split.rows() * 3 / 4);
  EXPECT_GT(cut_in_front, split.rows() / 4);
  EXPECT_LT(cut_in_front, split.rows() * 9 / 10);
  options.max_length = 4;
  EXPECT_THAT(error_of(ErrorKind::recipe, [&] { load(options); }),
              HasSubstr("max_length 4 leaves no room for two texts beside 3 special tokens"));
}

TEST_F(Pairs, ListsInJsonAreDocumentsAndACacheKeepsTheRows) {
  const Split text = load(documents("a.txt", "a b\nc\nd e f\n\ng\nh i\n\nk l\n"));
  DatasetOptions options = documents(
      "a.jsonl",
      "{\"text\": [\"a b\", \"c\", \"d e f\"]}\n{\"text\": [\"\"]}\n{\"text\": [\"g\", \"h i\"]}\n"
      "{\"text\": \"k l\"}\n");
  Split lists = load(options);
  EXPECT_EQ(lists.empty_rows, 1);
  // Draws are by the document's number, which the empty one has moved.
  options.train = write("b.jsonl",
                        "{\"text\": [\"a b\", \"c\", \"d e f\"]}\n"
                        "{\"text\": [\"g\", \"h i\"]}\n{\"text\": \"k l\"}\n");
  lists = load(options);
  EXPECT_EQ(lists.ids, text.ids);
  EXPECT_EQ(lists.classes, text.classes);
  options.cache = path("cache");
  for (int time = 0; time < 2; ++time) {
    const Split cached = load(options);
    EXPECT_FALSE(cached.cache.empty());
    EXPECT_EQ(cached.ids, text.ids);
    EXPECT_EQ(cached.first_lengths, text.first_lengths);
    EXPECT_EQ(cached.classes, text.classes);
  }
}

TEST_F(Pairs, ASecondTextComesFromTheCallBeforeWhereADocumentIsAlone) {
  SentencePairs pairs(SpaceTokenizer(), 20, 1);
  auto made = [](std::initializer_list<int32_t> ids) {
    Documents documents;
    documents.sentences.offsets = {0};
    for (int32_t id : ids) {
      documents.sentences.ids.push_back(id);
      documents.sentences.offsets.push_back(documents.sentences.offsets.back() + 1);
      documents.sentences.first_lengths.push_back(1);
      documents.begins.push_back(documents.sentences.count());
      documents.lines.push_back(1);
      documents.numbers.push_back(id);
    }
    return documents;
  };
  Split chunk;
  EXPECT_THAT(error_of(ErrorKind::data, [&] { pairs.make(made({7}), 0, 1, chunk); }),
              HasSubstr("one document alone"));
  pairs.make(made({7, 8}), 0, 1, chunk);
  chunk = {};
  pairs.make(made({9}), 0, 1, chunk);
  ASSERT_EQ(chunk.rows(), 1);
  EXPECT_EQ(chunk.ids[1], 9);
  EXPECT_TRUE(chunk.ids[3] == 7 || chunk.ids[3] == 8);
}

TEST_F(Pairs, WhatCannotBeReadIsTold) {
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(documents("a.txt", "a\nb\n")); }),
              HasSubstr("one document alone"));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(documents("b.txt", "a\n\nb\xff\n")); }),
              HasSubstr("line 3: not valid UTF-8 at byte 2"));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(documents("c.txt", "a\n\nb\x1F\n")); }),
              HasSubstr("a character U+001F in a line"));
  DatasetOptions options = documents("d.txt", "a\n\nb\n");
  options.text = "sentence";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(options); }), HasSubstr("set `text: 0`"));
}

TEST_F(Pairs, APlainTextIsARowALine) {
  DatasetOptions options = documents("a.txt", "a \"b\tc\n\n d\r\n");
  options.task = "unlabelled";
  const Split split = load(options);
  ASSERT_EQ(split.rows(), 2);
  EXPECT_EQ(ids_of(split, 0), ids_of("a \"b\tc"));
  EXPECT_THAT(split.lines, ElementsAre(1, 3));
  EXPECT_EQ(split.blank_lines, 1);
  EXPECT_EQ(count_rows(options, "train"), 2);
}

TEST_F(Pairs, RowsOfAFileAreGuessed) {
  const std::string line(600, 'a');
  DatasetOptions options = documents("a.txt", str(line, "\n\n", line));
  options.max_length = 100;
  options.duplicates = 3;
  EXPECT_TRUE(counts_are_guesses(options));
  EXPECT_EQ(count_rows(options, "train"), 3 * (2 + 1200 / 300));
}

}  // namespace
}  // namespace compress::data
