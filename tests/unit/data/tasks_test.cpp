#include "compress/data/loader.h"
#include "rows/row_stream.h"
#include "support.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr int32_t end_id = 3;

// Words only, and an end-of-text token.
class Ending final : public text::Tokenizer {
 public:
  Ending() { ids_.eos = end_id; }
  void encode(std::string_view text, std::optional<std::string_view> pair,
              const text::EncodeOptions& options, text::Encoding& out) const override {
    words_.encode(text, pair, options, out);
  }
  int64_t vocabulary_size() const override { return words_.vocabulary_size(); }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::optional<std::string_view> id_to_token(int32_t) const override { return std::nullopt; }
  const text::SpecialIds& special_ids() const override { return ids_; }
  int64_t special_tokens_added(bool) const override { return 0; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  const std::string& hash() const override { return words_.hash(); }

 private:
  SpaceTokenizer words_{false};
  text::SpecialIds ids_;
};

int32_t id(std::string_view word) {
  return SpaceTokenizer::word(word);
}
std::vector<int64_t> longs(const torch::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

class Tasks : public DataTest {
 protected:
  DatasetOptions language(std::string_view rows) {
    auto options = texts("a.tsv", "text\n" + std::string(rows));
    options.task = "language_model";
    return options;
  }
  DatasetOptions translation(std::string_view rows) {
    auto options = texts("a.tsv", "text\tother\n" + std::string(rows));
    options.task = "sequence_to_sequence";
    options.target = "other";
    return options;
  }
  Split ending(const DatasetOptions& options) { return load_split(options, "train", Ending()); }
};

TEST_F(Tasks, LanguageModelLabelsAreTheNextTokens) {
  const Split split = ending(language("a b\nc\n"));
  EXPECT_THAT(split.ids, ElementsAre(id("a"), id("b"), end_id, id("c"), end_id));
  EXPECT_THAT(split.first_lengths, ElementsAre(3, 2));
  const Batch batch = pack(split, std::vector<int64_t>{1, 0});
  EXPECT_THAT(longs(batch.targets.token_labels), ElementsAre(end_id, -100, id("b"), end_id, -100));
  EXPECT_THAT(batch.targets.labelled, ElementsAre(0, 2, 3));
  EXPECT_THAT(longs(batch.targets.token_index), ElementsAre(0, 2, 3));
  EXPECT_EQ(batch.decoder, nullptr);
  const Batch last = slice(batch, 1, 2);
  EXPECT_THAT(longs(last.targets.token_labels), ElementsAre(id("b"), end_id, -100));
  EXPECT_THAT(last.targets.labelled, ElementsAre(0, 1));
}

TEST_F(Tasks, EndTokenWhereThereIsRoom) {
  auto options = language("a b c d\na b\n");
  options.max_length = 3;
  EXPECT_THAT(ending(options).ids,
              ElementsAre(id("a"), id("b"), id("c"), id("a"), id("b"), end_id));
  options.append_end = false;
  EXPECT_THAT(ending(options).offsets, ElementsAre(0, 3, 5));
  // A tokenizer without the token, and one that ends texts itself.
  options.append_end = true;
  EXPECT_THAT(load_split(options, "train", SpaceTokenizer(false)).offsets, ElementsAre(0, 3, 5));
  text::PackedIds ended{{7, end_id, 8}, {0, 2, 3}, {2, 1}};
  append_token(ended, end_id, 0);
  EXPECT_THAT(ended.ids, ElementsAre(7, end_id, 8, end_id));
  EXPECT_THAT(ended.offsets, ElementsAre(0, 2, 4));
}

TEST_F(Tasks, ConcatenatedTextsAreCutIntoBlocks) {
  auto options = language("a b c d\ne\nf g\n");
  options.max_length = 3;
  options.concatenate = true;
  const Split split = ending(options);
  EXPECT_THAT(split.ids, ElementsAre(id("a"), id("b"), id("c"), id("d"), end_id, id("e"), end_id,
                                     id("f"), id("g"), end_id));
  EXPECT_THAT(split.offsets, ElementsAre(0, 3, 6, 9, 10));
  EXPECT_THAT(split.first_lengths, ElementsAre(3, 3, 3, 1));
  EXPECT_THAT(split.lines, ElementsAre(2, 2, 3, 4));
  EXPECT_EQ(split.rows(), 4);
  options.limit = 2;
  EXPECT_THAT(ending(options).offsets, ElementsAre(0, 3, 6, 7));
  EXPECT_EQ(count_rows(options, "train"), 1);  // 8 bytes
  options.max_length = 1000;
  EXPECT_THAT(ending(options).offsets, ElementsAre(0, 7));
}

// A chunk of the file is 4 MB.
TEST_F(Tasks, BlocksGoOnBeyondAChunk) {
  std::string rows;
  std::vector<int32_t> expected;
  for (int row = 0; row < 100; ++row) {
    const std::string word = str("w", row);
    rows += word + std::string(100000, ' ') + word + "\n";
    for (int32_t token : {id(word), id(word), end_id}) expected.push_back(token);
  }
  auto options = language(rows);
  options.max_length = 7;
  options.concatenate = true;
  const Split split = ending(options);
  EXPECT_THAT(split.ids, ElementsAreArray(expected));
  EXPECT_EQ(split.rows(), 43);
  EXPECT_EQ(split.length(42), 6);
  EXPECT_EQ(split.lines[42], 2 + 98);
  options.cache = path("cache");
  const Split mapped = ending(options);
  EXPECT_FALSE(mapped.cache.empty());
  EXPECT_EQ(mapped.ids, split.ids);
  EXPECT_EQ(mapped.offsets, split.offsets);
}

TEST_F(Tasks, SequenceToSequence) {
  const Split split = load(translation("a b\tx\nc\ty z w\n"));
  EXPECT_THAT(split.ids, ElementsAre(1, id("a"), id("b"), 2, 1, id("x"), 2,  //
                                     1, id("c"), 2, 1, id("y"), id("z"), id("w"), 2));
  EXPECT_THAT(split.offsets, ElementsAre(0, 7, 15));
  EXPECT_THAT(split.first_lengths, ElementsAre(4, 3));
  const Batch batch = pack(split, std::vector<int64_t>{1, 0});
  EXPECT_THAT(longs(batch.token_ids), ElementsAre(1, id("c"), 2, 1, id("a"), id("b"), 2));
  EXPECT_THAT(longs(batch.segment_ids), ElementsAre(0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(batch.row_offsets, ElementsAre(0, 3, 7));
  EXPECT_EQ(batch.longest, 4);
  ASSERT_NE(batch.decoder, nullptr);
  const Batch& target = *batch.decoder;
  EXPECT_THAT(longs(target.token_ids), ElementsAre(1, id("y"), id("z"), id("w"), 2, 1, id("x"), 2));
  EXPECT_THAT(longs(target.segment_ids), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(longs(target.positions), ElementsAre(0, 1, 2, 3, 4, 0, 1, 2));
  EXPECT_THAT(longs(target.slots), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(target.rows(), 2);
  EXPECT_EQ(longs(batch.targets.token_labels), longs(target.token_ids));
  EXPECT_THAT(batch.targets.labelled, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));

  const Batch last = slice(batch, 1, 2);
  EXPECT_THAT(longs(last.token_ids), ElementsAre(1, id("a"), id("b"), 2));
  EXPECT_THAT(longs(last.decoder->token_ids), ElementsAre(1, id("x"), 2));
  EXPECT_THAT(longs(last.targets.token_labels), ElementsAre(1, id("x"), 2));
  EXPECT_THAT(last.targets.labelled, ElementsAre(0, 1, 2));
  EXPECT_EQ(last.decoder->part.first_token, 5);
  EXPECT_EQ(last.part.first_token, 3);
  EXPECT_EQ(last.predicted().update_tokens(), 8);
  EXPECT_EQ(last.update_labelled(), 8);

  const Batch wide = padded(batch, 9, 4);
  EXPECT_EQ(wide.decoder, batch.decoder);
  EXPECT_EQ(longs(wide.targets.token_labels), longs(target.token_ids));
  const Batch moved = batch.to(torch::kCPU);
  EXPECT_EQ(longs(moved.decoder->token_ids), longs(target.token_ids));
}

TEST_F(Tasks, SourcesAndTargetsAreCutForThemselves) {
  auto options = translation("a b c d\tx y z\n");
  options.max_length = 3;
  options.max_target_length = 2;
  const Split split = load(options);
  EXPECT_THAT(split.ids, ElementsAre(1, id("a"), id("b"), 1, id("x")));
  EXPECT_THAT(split.first_lengths, ElementsAre(3));
}

TEST_F(Tasks, TextsWithoutTokens) {
  auto message = [&](const DatasetOptions& options) {
    return error_of(ErrorKind::data, [&] { load_split(options, "train", SpaceTokenizer(false)); });
  };
  EXPECT_THAT(message(translation("a\tx\nb\t \n")),
              AllOf(HasSubstr("a.tsv:3"), HasSubstr("the target has no tokens")));
  EXPECT_THAT(message(translation("a\tx\n \ty\n")), HasSubstr("the text has no tokens"));
  auto options = language("a\tx\n\tx\n");
  options.train = write("b.tsv", "text\tn\na\t1\n \t2\n");
  EXPECT_THAT(ending(options).ids, ElementsAre(id("a"), end_id));
  EXPECT_EQ(ending(options).empty_rows, 1);
}

TEST_F(Tasks, OptionsAreInTheHash) {
  auto options = language("a b\n");
  const std::string plain = source_hash(options, "train"), made = ending(options).content_hash;
  options.append_end = false;
  EXPECT_NE(source_hash(options, "train"), plain);
  options.append_end = true;
  options.concatenate = true;
  EXPECT_NE(source_hash(options, "train"), plain);
  options.concatenate = false;
  EXPECT_EQ(source_hash(options, "train"), plain);
  EXPECT_NE(load_split(options, "train", SpaceTokenizer(false)).content_hash, made);  // no end
  auto written = translation("a\tx\n");
  const std::string before = source_hash(written, "train");
  written.max_target_length = 5;
  EXPECT_NE(source_hash(written, "train"), before);
  written.max_target_length = 128;
  written.target = "1";
  EXPECT_NE(source_hash(written, "train"), before);
}

// A prompt and its answer in one row: all next tokens have labels, those of the answer a mark.
class Prompted : public DataTest {
 protected:
  DatasetOptions prompted(std::string_view bytes) const {
    DatasetOptions options = dataset("p.tsv", bytes);
    options.label.clear();
    options.task = "language_model";
    options.target = "answer";
    return options;
  }
};

TEST_F(Prompted, TheTargetFollowsTheText) {
  const Split split =
      load_split(prompted("text\tanswer\na b\tc\nd\te f\n"), "train", SpaceTokenizer(false));
  auto word = [](const char* text) { return SpaceTokenizer::word(text); };
  EXPECT_THAT(ids_of(split, 0), ElementsAre(word("a"), word("b"), word("c")));
  EXPECT_THAT(ids_of(split, 1), ElementsAre(word("d"), word("e"), word("f")));
  EXPECT_THAT(split.first_lengths, ElementsAre(2, 1));
  EXPECT_TRUE(split.answers);
  const Batch batch = pack(split, std::vector<int64_t>{0, 1});
  EXPECT_TRUE(batch.segment_ids.eq(0).all().item<bool>());
  EXPECT_THAT(batch.targets.labelled, ElementsAre(0, 1, 3, 4));
  const TokenMark* mark = batch.targets.mark(answer_mark);
  ASSERT_NE(mark, nullptr);
  // b is predicted at a, c at b; e at d, f at e.
  EXPECT_TRUE(torch::equal(mark->among, torch::tensor({0.f, 1.f, 1.f, 1.f})));
  EXPECT_EQ(mark->update, 3);
  EXPECT_EQ(batch.targets.mark("question"), nullptr);
  const Batch second = slice(batch, 1, 2);
  EXPECT_TRUE(torch::equal(second.targets.mark(answer_mark)->among, torch::tensor({1.f, 1.f})));
  EXPECT_EQ(second.targets.mark(answer_mark)->update, 3);  // of the whole update
}

TEST_F(Prompted, SpecialTokensAreThoseOfTheText) {
  DatasetOptions options = prompted("text\tanswer\na b c\td e f\n");
  options.max_length = 4;
  options.max_target_length = 2;
  const Split split = load(options);
  auto word = [](const char* text) { return SpaceTokenizer::word(text); };
  // [1] a b c, cut; the target has no special tokens, and is cut for itself.
  EXPECT_THAT(ids_of(split, 0),
              ElementsAre(1, word("a"), word("b"), word("c"), word("d"), word("e")));
  EXPECT_THAT(split.first_lengths, ElementsAre(4));
}

TEST_F(Prompted, AreRefusedWithoutATextOrInBlocks) {
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(prompted("text\tanswer\na\t\nb\tc\n")); }),
              HasSubstr("the target has no tokens"));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(prompted("text\tanswer\n\ta\nb\tc\n")); }),
              HasSubstr("the text has no tokens"));
}

TEST_F(Prompted, AnswersOfTheWholeBatchAreCountedForEachProcess) {
  const Split split = load_split(prompted("text\tanswer\na b\tc\nd\te f\ng\th\ni j\tk l m\n"),
                                 "train", SpaceTokenizer(false));
  for (int64_t rank : {0, 1, 2}) {
    Loader loader(split, {.batch = 4, .rank = rank, .world = 3}, 0);
    EXPECT_EQ(loader.next().targets.mark(answer_mark)->update, 1 + 2 + 1 + 3);
  }
}

}  // namespace
}  // namespace compress::data
