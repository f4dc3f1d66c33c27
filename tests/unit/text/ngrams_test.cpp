// N-grams of words as tokens: learnt, read, encoded.

#include <gmock/gmock.h>

#include "compress/base/error.h"
#include "compress/text/train.h"
#include "support/failure.h"
#include "unit/text/fixture.h"

namespace compress::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

TokenizerFiles learn(const std::vector<std::string>& lines, int64_t size, int64_t shortest = 1,
                     int64_t longest = 3, int64_t frequency = 2) {
  size_t at = 0;
  TrainOptions options;
  options.model = TrainedModel::ngram;
  options.vocabulary_size = size;
  options.min_frequency = frequency;
  options.shortest_ngram = shortest;
  options.longest_ngram = longest;
  return train_tokenizer(
      [&](std::string& line) {
        if (at == lines.size()) return false;
        line = lines[at++];
        return true;
      },
      options);
}

class NgramFolder : public ModelFolder {
 protected:
  void model(const json& vocab, int64_t shortest = 1, int64_t longest = 3) {
    content() = {{"version", "1.0"},
                 {"model",
                  {{"type", "NGram"},
                   {"shortest", shortest},
                   {"longest", longest},
                   {"shortest_word", 2},
                   {"vocab", vocab}}}};
    reload();
  }
  std::string refusal() {
    const Error error = failure([&] { tokenizer(); });
    EXPECT_EQ(error.kind(), ErrorKind::model);
    return error.message();
  }
};

TEST_F(NgramFolder, EncodesKnownOnesOfEveryLength) {
  model({"<pad>", "good", "not", "not good", "good film", "not good film", "é été"});
  const Tokenizer& t = tokenizer();
  EXPECT_EQ(t.vocabulary_size(), 7);
  EXPECT_EQ(t.special_ids().pad, 0);
  EXPECT_EQ(t.special_ids().unk, -1);
  EXPECT_THAT(t.encode("Not good, FILM!").ids, ElementsAre(2, 3, 5, 1, 4));
  // Words of one character are dropped before n-grams are formed; repeated ones count again.
  EXPECT_THAT(t.encode("not a good good").ids, ElementsAre(2, 3, 1, 1));
  EXPECT_THAT(t.encode("ÉTÉ").ids, ElementsAre(0)) << "a text without any is padding";
  EXPECT_THAT(t.encode("").ids, ElementsAre(0));
  EXPECT_THAT(t.encode("not good film", {.max_length = 2}).ids, ElementsAre(2, 3));
  const Encoding pair = t.encode("not", "good film");
  EXPECT_THAT(pair.ids, ElementsAre(2, 1, 4)) << "none crosses from one text to the other";
  EXPECT_EQ(pair.first_length, 1);
  EXPECT_EQ(t.decode(std::vector<int32_t>{3, 0, 1}), "not good good");
  EXPECT_EQ(t.token_to_id("good film"), 4);
  EXPECT_EQ(t.token_to_id("bad"), std::nullopt);
}

TEST_F(NgramFolder, OffsetsAreThoseOfTheText) {
  model({"<pad>", "not good", "good"});
  const Encoding found = tokenizer().encode("Not, good", {.offsets = true});
  EXPECT_THAT(found.offsets, ElementsAre(ByteRange{0, 9}, ByteRange{5, 9}));
  EXPECT_THAT(found.special, ElementsAre(0, 0));
  const Encoding none = tokenizer().encode("bad", {.offsets = true});
  EXPECT_THAT(none.offsets, ElementsAre(ByteRange{}));
  EXPECT_THAT(none.special, ElementsAre(1));
}

TEST_F(NgramFolder, RefusesWhatIsNoVocabulary) {
  model({"<pad>", "good", "good"});
  EXPECT_THAT(refusal(), HasSubstr("'good' is there twice"));
  model({"<pad>", 7});
  EXPECT_THAT(refusal(), HasSubstr("number 1 is no text"));
  model({"<pad>"});
  EXPECT_THAT(refusal(), HasSubstr("no n-gram"));
  model(json::object({{"good", 1}}));
  EXPECT_THAT(refusal(), HasSubstr("an array"));
  model({"<pad>", "good"}, 3, 2);
  EXPECT_THAT(refusal(), HasSubstr("from 3 to 8"));
  model({"<pad>", "good"}, 1, 1'000'000);
  EXPECT_THAT(refusal(), HasSubstr("from 1 to 8"));
  model({"<pad>", "good"});
  content()["normalizer"] = {{"type", "Lowercase"}};
  EXPECT_THAT(refusal(), HasSubstr("splits texts itself"));
}

TEST_F(NgramFolder, LearnsTheMostFrequent) {
  const std::vector<std::string> lines = {"A good film.", "a Good film", "good plot", "bad plot"};
  const json file = json::parse(learn(lines, 6).tokenizer_json);
  // good 3; film, good film, plot 2; bad and good plot once. Equal ones in the order of bytes.
  EXPECT_EQ(file["model"]["vocab"], json({"<pad>", "good", "film", "good film", "plot"}));
  const json fewer = json::parse(learn(lines, 3).tokenizer_json);
  EXPECT_EQ(fewer["model"]["vocab"], json({"<pad>", "good", "film"}));
  const json twos = json::parse(learn(lines, 100, 2, 2, 1).tokenizer_json);
  EXPECT_EQ(twos["model"]["vocab"], json({"<pad>", "good film", "bad plot", "good plot"}));
  // The order of the lines does not matter.
  EXPECT_EQ(learn(lines, 6).tokenizer_json,
            learn({lines[3], lines[1], lines[0], lines[2]}, 6).tokenizer_json);
  write_tokenizer(learn(lines, 6), folder());
  EXPECT_THAT(load_tokenizer(folder())->encode("the good film").ids, ElementsAre(1, 3, 2));
}

TEST_F(NgramFolder, LearningRefusesWhatCannotBeMet) {
  auto said = [&](ErrorKind kind, const std::function<void()>& act) {
    const Error error = failure(act);
    EXPECT_EQ(error.kind(), kind);
    return error.message();
  };
  EXPECT_THAT(said(ErrorKind::recipe, [] { learn({"good"}, 10, 2, 1); }), HasSubstr("2 to 1"));
  EXPECT_THAT(said(ErrorKind::recipe, [] { learn({"good"}, 10, 1, 9); }), HasSubstr("1 to 9"));
  EXPECT_THAT(said(ErrorKind::recipe, [] { learn({"good"}, 1); }), HasSubstr("no room"));
  EXPECT_THAT(said(ErrorKind::data, [] { learn({}, 10); }), HasSubstr("no text"));
  EXPECT_THAT(said(ErrorKind::data, [] { learn({"good"}, 10); }), HasSubstr("comes up 2 times"));
}

}  // namespace
}  // namespace compress::text
