#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/surgery/workshop.h"

namespace compress::surgery {
namespace {

using testing::HasSubstr;

class TrimVocabulary : public testing::Test {
 protected:
  TrimVocabulary() {
    workshop_.folder = std::filesystem::temp_directory_path() /
                       (std::string("compress_surgery_") +
                        testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(workshop_.folder);
    make_folder(workshop_.folder);
    first_ = workshop_.folder;
    // 60 tokens: 5 special ones, 26 letters, 26 that continue a word, and three words.
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    for (char c = 'a'; c <= 'z'; ++c) vocabulary += std::string(1, c) + "\n";
    for (char c = 'a'; c <= 'z'; ++c) vocabulary += "##" + std::string(1, c) + "\n";
    write_file(first_ / "vocab.txt", vocabulary + "cat\ndog\nbird\n");
    workshop_.data["pets"] = {"cat cat dog", "cat bird xy"};
  }
  ~TrimVocabulary() override {
    std::filesystem::remove_all(first_);
    std::filesystem::remove_all(workshop_.folder);
  }

  Answers workshop_;
  std::filesystem::path first_;
};

TEST_F(TrimVocabulary, RowsAndFiles) {
  nn::ModelState state = bert_state();
  const torch::Tensor before = state.tensors.at("embeddings.word_embeddings.weight");
  edit("trim_vocabulary: {data: pets, at_least: 2}", state, workshop_);
  // "cat" has three occurrences, "dog" and "bird" one each; letters and special tokens stay.
  EXPECT_EQ(state.config.vocab_size, 58);
  const torch::Tensor& after = state.tensors.at("embeddings.word_embeddings.weight");
  EXPECT_EQ(after.size(0), 58);
  EXPECT_TRUE(after.equal(before.narrow(0, 0, 58)));
  EXPECT_THAT(workshop_.written.at("vocab.txt"), testing::EndsWith("##z\ncat\n"));
  // Tokens: cat 3, dog, bird, x, ##y = 7; words: 6, of which dog and bird split.
  EXPECT_EQ(state.history.back(),
            "trim_vocabulary: 60 tokens to 58; of the 7 tokens of pets 71.43 % stay, of its 6 "
            "words 33.33 % split further and 0.00 % become unknown");
  EXPECT_EQ(nn::family("bert").write_config(state.config)["vocab_size"], 58);
  EXPECT_TRUE(runs(state));
}

TEST_F(TrimVocabulary, OutputLayersFollow) {
  workshop_.data["pets"] = {"bird"};
  nn::ModelState untied = llama_state(false);
  untied.config.eos_token_ids = {2};
  edit("trim_vocabulary: pets", untied, workshop_);
  EXPECT_EQ(untied.config.vocab_size, 58);
  // The last row was number 59, the word "bird".
  EXPECT_EQ(untied.tensors.at("lm_head.weight")[57][1].item<float>(), 59001);
  EXPECT_EQ(untied.tensors.at("embed_tokens.weight")[57][0].item<float>(), 59000);
  nn::ModelState bias = bart_state();
  workshop_.folder = first_;
  edit("trim_vocabulary: pets", bias, workshop_);
  EXPECT_EQ(bias.tensors.at("final_logits_bias").sizes(), torch::IntArrayRef({1, 58}));
  EXPECT_EQ(bias.tensors.at("final_logits_bias")[0][57].item<float>(), 59);
}

TEST_F(TrimVocabulary, RolesOfTokensMove) {
  nn::ModelState state = llama_state();
  state.config.eos_token_ids = {59, 2};
  state.config.bos_token_id = 58;
  state.config.raw["eos_token_id"] = {59, 2};
  state.config.raw["bos_token_id"] = 58;
  state.config.raw["task_specific_params"] = {{"t", {{"forced_eos_token_id", 59}}}};
  workshop_.data["pets"] = {"a"};
  edit("trim_vocabulary: pets", state, workshop_);
  EXPECT_EQ(state.config.vocab_size, 59);  // "cat" went
  EXPECT_EQ(state.config.eos_token_ids, std::vector<int64_t>({58, 2}));
  EXPECT_EQ(state.config.bos_token_id, 57);
  EXPECT_EQ(state.config.raw["eos_token_id"], nn::Json({58, 2}));
  EXPECT_EQ(state.config.raw["task_specific_params"]["t"]["forced_eos_token_id"], 58);
}

TEST_F(TrimVocabulary, SeveralDataSets) {
  workshop_.data["more"] = {"dog"};
  nn::ModelState state = bert_state();
  edit("trim_vocabulary: {data: [pets, more], at_least: 2}", state, workshop_);
  EXPECT_EQ(state.config.vocab_size, 59);
  const recipe::Component component = component_of("trim_vocabulary: {data: [pets, more]}");
  const std::vector<recipe::Referred> read = recipe::references_of(component);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[1].to, recipe::Refers::data);
  EXPECT_EQ(read[1].reference.name, "more");
  EXPECT_TRUE(traits(component).new_tokenizer);
}

TEST_F(TrimVocabulary, APlanReadsNothing) {
  workshop_.plan = true;
  workshop_.data.clear();
  nn::ModelState state = bert_state();
  edit("trim_vocabulary: {data: pets}", state, workshop_);
  EXPECT_EQ(state.config.vocab_size, 60);
  EXPECT_EQ(state.history.back(),
            "trim_vocabulary: keeps the tokens that pets has 1 time or more; how many is known "
            "when the texts are read, at most 60");
}

TEST_F(TrimVocabulary, RowsWithoutATokenGo) {
  nn::ModelState state = bert_state();
  state.config.vocab_size = 64;
  state.tensors["embeddings.word_embeddings.weight"] = places({64, 8});
  edit("trim_vocabulary: {data: pets}", state, workshop_);
  EXPECT_EQ(state.config.vocab_size, 60);
}

TEST_F(TrimVocabulary, WrongInputs) {
  const char* cases[][2] = {{"trim_vocabulary: {}", "data"},
                            {"trim_vocabulary: {data: []}", "names no data set"},
                            {"trim_vocabulary: {data: pets, at_least: 0}", ""}};
  for (const auto& [text, message] : cases) {
    nn::ModelState state = bert_state();
    const Error error = failure([&, text = text] { edit(text, state, workshop_); });
    EXPECT_EQ(error.kind(), ErrorKind::recipe) << text;
    EXPECT_THAT(error.message(), HasSubstr(message)) << text;
  }
  nn::ModelState few = bert_state();
  few.config.vocab_size = 50;
  few.tensors["embeddings.word_embeddings.weight"] = places({50, 8});
  Error error = failure([&] { edit("trim_vocabulary: {data: pets}", few, workshop_); });
  EXPECT_EQ(error.kind(), ErrorKind::recipe);
  EXPECT_THAT(error.message(), HasSubstr("the model's embedding has 50 rows"));
  EXPECT_THAT(error.where(), HasSubstr("recipe.yaml:1"));
  nn::ModelState role = llama_state();
  role.config.bos_token_id = 70;
  error = failure([&] { edit("trim_vocabulary: {data: pets}", role, workshop_); });
  EXPECT_EQ(error.kind(), ErrorKind::model);
  EXPECT_THAT(error.message(), HasSubstr("the tokenizer has only 60 tokens"));
  Workshop nothing(0);
  nn::ModelState state = bert_state();
  error = failure([&] { edit("trim_vocabulary: {data: pets}", state, nothing); });
  EXPECT_THAT(error.message(), HasSubstr("no tokenizer"));
}

TEST_F(TrimVocabulary, PositionsMustNotMove) {
  // RoBERTa's positions begin behind the number of the padding token, which is the word "bird".
  nn::ModelState state = StateMaker({{"model_type", "roberta"},
                                     {"architectures", {"RobertaModel"}},
                                     {"vocab_size", 60},
                                     {"hidden_size", 8},
                                     {"num_hidden_layers", 1},
                                     {"num_attention_heads", 2},
                                     {"intermediate_size", 12},
                                     {"max_position_embeddings", 70},
                                     {"type_vocab_size", 1},
                                     {"pad_token_id", 59}})
                             .make();
  workshop_.data["pets"] = {"cat"};
  const Error error = failure([&] { edit("trim_vocabulary: {data: pets}", state, workshop_); });
  EXPECT_EQ(error.kind(), ErrorKind::recipe);
  EXPECT_THAT(error.message(), HasSubstr("the padding token would get another number"));
}

TEST(ResizeVocabulary, SeedsOfItsOwnAndOfTheStage) {
  auto last = [](const std::string& text, uint64_t seed) {
    nn::ModelState state = bert_state();
    Answers workshop(seed);
    edit(text, state, workshop);
    return state.tensors.at("embeddings.word_embeddings.weight").narrow(0, 60, 2).clone();
  };
  const std::string plain = "resize_vocabulary: {size: 62}";
  const std::string own = "resize_vocabulary: {size: 62, seed: 5}";
  EXPECT_TRUE(last(own, 1).equal(last(own, 2)));
  EXPECT_TRUE(last(plain, 1).equal(last(plain, 1)));
  EXPECT_FALSE(last(plain, 1).equal(last(plain, 2)));
  EXPECT_FALSE(last(plain, 1).equal(last(own, 1)));
}

}  // namespace
}  // namespace compress::surgery
