#include "compress/data/compose.h"

#include <map>
#include <set>

#include "compress/data/loader.h"
#include "compress/data/mixture.h"
#include "pack.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Begins a text with [1] and ends a target with [3].
class Decoder final : public text::Tokenizer {
 public:
  Decoder() { special_.bos = 1, special_.eos = 3; }
  void encode(std::string_view text, std::optional<std::string_view>,
              const text::EncodeOptions& options, text::Encoding& out) const override {
    words_.encode(text, std::nullopt, {}, out);
    out.first_length = static_cast<int64_t>(out.ids.size());
    if (!options.add_special_tokens) return;
    out.ids.insert(out.ids.begin(), 1);
    ++out.first_length;
  }
  int64_t vocabulary_size() const override { return 1 << 30; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
  const text::SpecialIds& special_ids() const override { return special_; }
  int64_t special_tokens_added(bool) const override { return 1; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return hash_; }

 private:
  SpaceTokenizer words_{false};
  text::SpecialIds special_;
  std::string hash_ = "decoder";
};

std::vector<int32_t> words(std::initializer_list<const char*> list) {
  std::vector<int32_t> ids;
  for (const std::string word : list)
    ids.push_back(word == "1" ? 1 : word == "3" ? 3 : SpaceTokenizer::word(word));
  return ids;
}

std::vector<int32_t> row_of(const Batch& batch, size_t row) {
  std::vector<int32_t> ids;
  for (int64_t t = batch.row_offsets[row]; t < batch.row_offsets[row + 1]; ++t)
    ids.push_back(static_cast<int32_t>(batch.token_ids[t].item<int64_t>()));
  return ids;
}

class Composed : public DataTest {
 protected:
  DatasetOptions demonstrated(const std::string& bytes, const std::string& how) const {
    DatasetOptions options;
    options.train = write("train.tsv", bytes);
    options.text = "text";
    options.target = "target";
    options.task = "language_model";
    options.compose = component(how);
    return options;
  }
  static recipe::Component component(const std::string& how) {
    recipe::Problems problems;
    recipe::Component read;
    composers().read(recipe::parse_text("{demonstrations: {" + how + "}}"), read, problems);
    problems.raise();
    return read;
  }
  static Split read(const DatasetOptions& options, const std::string& part = "train") {
    return load_split(options, part, Decoder());
  }
  // `rows` rows "q.i r.i" -> "a.i".
  static std::string numbered(int rows, const std::string& name = "") {
    std::string text = "text\ttarget\n";
    for (int i = 0; i < rows; ++i)
      text += str("q", name, ".", i, " r", name, ".", i, "\ta", name, ".", i, "\n");
    return text;
  }
};

// Of two rows each is the only demonstration of the other.
TEST_F(Composed, ADemonstrationStandsInFrontOfARow) {
  const Split split =
      read(demonstrated("text\ttarget\nhow now\tso\nwhy\tit is\n", "count: 1, separator: and"));
  const Batch batch = pack(split, std::vector<int64_t>{1, 0});
  EXPECT_EQ(row_of(batch, 0), words({"1", "how", "now", "so", "and", "why", "it", "is", "3"}));
  EXPECT_EQ(row_of(batch, 1), words({"1", "why", "it", "is", "and", "how", "now", "so", "3"}));
  EXPECT_EQ(batch.longest, 9);
  EXPECT_TRUE(torch::equal(batch.positions, torch::arange(9).repeat({2})));
  EXPECT_TRUE(torch::equal(batch.slots, torch::arange(18)));
  EXPECT_FALSE(batch.segment_ids.any().item<bool>());
  // Every next token has a label; the mark is on those of the row's own answer.
  ASSERT_EQ(batch.targets.labelled.size(), 16u);
  const TokenMark* mark = batch.targets.mark(answer_mark);
  ASSERT_NE(mark, nullptr);
  EXPECT_EQ(mark->update, 5);
  EXPECT_TRUE(torch::equal(mark->among, torch::tensor({0, 0, 0, 0, 0, 1, 1, 1,  //
                                                       0, 0, 0, 0, 0, 0, 1, 1},
                                                      torch::kFloat32)));
  EXPECT_EQ(packed_length(split, 0), 9);
  EXPECT_EQ(labelled_tokens(split, 0), 8);
  EXPECT_EQ(answer_tokens(split, 0), 2);
  EXPECT_EQ(answer_tokens(split, 1), 3);
  EXPECT_EQ(split.length(0), 5);  // of the row itself
}

TEST_F(Composed, NoRowShowsItselfNorItsText) {
  std::string text = numbered(12);
  text += "q.3 r.3\tother\n";  // the text of row 3
  const Split split = read(demonstrated(text, "count: 3, separator: ''"));
  std::set<std::vector<int32_t>> seen;
  for (uint64_t draw = 1; draw <= 3000; ++draw) {
    const std::vector<int32_t> ids = row_of(pack(split, std::vector<int64_t>{3}, false, draw), 0);
    ASSERT_EQ(ids.size(), 14u);
    std::set<int32_t> shown;
    for (size_t t : {1, 4, 7, 10}) shown.insert(ids[t]);
    ASSERT_EQ(shown.size(), 4u) << draw;  // all different, and so none of them its own text
    seen.insert(ids);
  }
  EXPECT_GT(seen.size(), 900u);  // of 11 x 10 x 9
}

TEST_F(Composed, WhatDoesNotFitIsLeftOut) {
  std::string text = "text\ttarget\n";
  for (int i = 0; i < 8; ++i) text += str("short.", i, "\ta.", i, "\n");
  text += "one two three four five six seven eight nine ten\ta\n";
  const Split split = read(demonstrated(text, "count: 4, separator: s, max_length: 13"));
  for (uint64_t draw = 1; draw < 50; ++draw) {
    const Batch batch = pack(split, std::vector<int64_t>{0, 8}, false, draw);
    // Of three tokens each, three fit beside the row's four; the long one never does.
    EXPECT_EQ(batch.row_offsets[1], 13) << draw;
    EXPECT_EQ(row_of(batch, 1), words({"1", "one", "two", "three", "four", "five", "six", "seven",
                                       "eight", "nine", "ten", "a", "3"}));
  }
  EXPECT_THAT(split.composer->summary(split), HasSubstr("the others do not fit into 13 tokens"));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { check_longest(split, 12); }),
              HasSubstr("set max_length: 12 in `compose`"));
  check_longest(split, 13);
}

TEST_F(Composed, ScoringShowsTheTrainingPartByItsSeed) {
  DatasetOptions options = demonstrated(numbered(30), "count: 2, separator: s, seed: 5");
  options.validation = write("dev.tsv", numbered(4, "v"));
  const Split train = read(options), dev = read(options, "validation");
  EXPECT_EQ(dev.composer->source()->rows(), 30);
  std::set<int32_t> texts;
  for (int64_t row = 0; row < 30; ++row) texts.insert(train.ids[train.offsets[row] + 1]);
  const Batch batch = pack(dev, std::vector<int64_t>{0, 1, 2, 3});
  for (size_t row = 0; row < 4; ++row) {
    const std::vector<int32_t> ids = row_of(batch, row);
    EXPECT_EQ(texts.count(ids[1]) + texts.count(ids[5]), 2u);
    EXPECT_EQ(ids[9], SpaceTokenizer::word(str("qv.", row)));
    EXPECT_EQ(row_of(pack(dev, std::vector<int64_t>{static_cast<int64_t>(row)}), 0), ids);
  }
  options.compose = component("count: 2, separator: s, seed: 6");
  EXPECT_FALSE(
      torch::equal(pack(read(options, "validation"), std::vector<int64_t>{0, 1, 2, 3}).token_ids,
                   batch.token_ids));
  const Batch one = pack(train, std::vector<int64_t>{7}, false, 1);
  EXPECT_TRUE(
      torch::equal(pack(train, std::vector<int64_t>{7}, false, 1).token_ids, one.token_ids));
  EXPECT_FALSE(
      torch::equal(pack(train, std::vector<int64_t>{7}, false, 2).token_ids, one.token_ids));
  EXPECT_TRUE(redraws_rows(options));
  options.compose = component("count: 2, separator: s, seed: 5, fixed: true");
  const Split fixed = read(options);
  EXPECT_FALSE(redraws_rows(options));
  EXPECT_TRUE(torch::equal(pack(fixed, std::vector<int64_t>{7}, false, 2).token_ids,
                           pack(train, std::vector<int64_t>{7}).token_ids));
}

TEST_F(Composed, WhatIsShownIsPartOfWhatARowIs) {
  DatasetOptions options = demonstrated(numbered(5), "count: 1");
  options.validation = write("dev.tsv", numbered(4, "v"));
  const std::string one = source_hash(options, "validation"), train = source_hash(options, "train");
  options.compose = component("count: 2");
  EXPECT_NE(source_hash(options, "validation"), one);
  EXPECT_NE(source_hash(options, "train"), train);
  options.compose = component("count: 1");
  EXPECT_EQ(source_hash(options, "validation"), one);
  const std::string content = read(options, "validation").content_hash;
  options.train = write("other.tsv", numbered(6));
  EXPECT_NE(source_hash(options, "validation"), one);
  EXPECT_NE(read(options, "validation").content_hash, content);
  EXPECT_EQ(longest_row(options, std::nullopt), 1024);
  EXPECT_EQ(longest_row(options, 512), 512);
}

void expect_tokens(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.example_ids, b.example_ids);
  EXPECT_TRUE(torch::equal(a.token_ids, b.token_ids));
}

// A mixture of rows with demonstrations and rows without.
TEST_F(Composed, ALoaderDrawsAnewInEachEpochAndGoesOnAnywhere) {
  DatasetOptions options = demonstrated(numbered(9), "count: 2, separator: s");
  const Split shown = read(options);
  options.compose = {};
  options.train = write("plain.tsv", numbered(6, "p"));
  const Split plain = read(options);
  const Split split = mix({{"shown", &shown}, {"plain", &plain}}, {{1, 1}, 1.0, {}, {}});
  EXPECT_EQ(composer_of(split), shown.composer.get());
  EXPECT_EQ(packed_length(split, 0), 13);
  EXPECT_EQ(packed_length(split, 9), 5);
  SamplerOptions order{.batch = 5, .seed = 5};
  Loader whole(split, order, 0);
  std::vector<Batch> batches;
  for (int i = 0; i < 6; ++i) batches.push_back(whole.next());  // two epochs of three updates
  std::map<int64_t, std::vector<int32_t>> first;
  int64_t other = 0;
  for (size_t i = 0; i < 6; ++i)
    for (size_t row = 0; row < 5; ++row) {
      const std::vector<int32_t> ids = row_of(batches[i], row);
      const auto [at, added] = first.emplace(batches[i].example_ids[row], ids);
      other += !added && at->second != ids;
      EXPECT_EQ(ids.size(), batches[i].example_ids[row] < 9 ? 13u : 5u);
    }
  EXPECT_GE(other, 7);  // of nine that are drawn anew
  Loader later(split, order, 4);
  for (size_t i = 4; i < 6; ++i) expect_tokens(later.next(), batches[i]);
  order.world = 2;
  std::vector<std::unique_ptr<Loader>> ranks;
  for (order.rank = 0; order.rank < 2; ++order.rank)
    ranks.push_back(std::make_unique<Loader>(split, order, 0));
  for (const Batch& batch : batches) {
    std::vector<torch::Tensor> tokens;
    int64_t begin = 0;
    for (const auto& rank : ranks) {
      const Batch part = rank->next();
      EXPECT_EQ(part.part.first_token, begin);
      begin += part.tokens();
      EXPECT_EQ(part.part.tokens, batch.tokens());
      EXPECT_EQ(part.part.labelled, static_cast<int64_t>(batch.targets.labelled.size()));
      EXPECT_EQ(part.targets.marks[0].update, batch.targets.marks[0].update);
      tokens.push_back(part.token_ids);
    }
    EXPECT_TRUE(torch::equal(torch::cat(tokens), batch.token_ids));
  }
}

}  // namespace
}  // namespace compress::data
