// A model without layers, from a folder of config.json and n-grams: drawn, taught by a Transformer
// with a tokenizer of its own, stopped and gone on with, read again, scored.

#include <gmock/gmock.h>

#include "compress/text/tokenizer.h"
#include "compress/text/train.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;

class Dan : public Folder {
 protected:
  void SetUp() override {
    Folder::SetUp();
    make_folder(root_ / "dan");
    text::TrainOptions options;
    options.model = text::TrainedModel::ngram;
    options.vocabulary_size = 12;
    options.longest_ngram = 2;
    const std::vector<std::string> lines = {"the film good fine", "the plot bad dull",
                                            "the film good fine fine", "the plot bad dull dull"};
    size_t at = 0;
    text::write_tokenizer(text::train_tokenizer(
                              [&](std::string& line) {
                                if (at == lines.size()) return false;
                                line = lines[at++];
                                return true;
                              },
                              options),
                          root_ / "dan");
    tokens_ = text::load_tokenizer(root_ / "dan")->vocabulary_size();
    write_config(nn::Json::object());
  }
  void write_config(const nn::Json& more) const {
    nn::Json config = {
        {"model_type", "dan"}, {"vocab_size", tokens_}, {"embedding_size", 6}, {"hidden_size", 6}};
    config.update(more);
    write_file(root_ / "dan/config.json", config.dump());
  }
  std::string empty() const { return (root_ / "dan").string(); }
  std::string student(const std::string& more = "") const {
    return "{from: " + empty() + ", initialise: {hidden_size: 8}" + more + "}";
  }
  std::string distilled(int steps) const {
    return text(stage("teacher", base(), 4) +
                stage("small", student(), steps,
                      ", teacher: {from: teacher, tokenizer: own}, objectives: [soft_labels: {}, "
                      "labels: {}], optimizer: {adamw: {lr: 0.05, rows: lazy}}") +
                "  - name: scored\n    evaluate: {model: small, data: films}\n");
  }
  int64_t tokens_ = 0;
};

TEST_F(Dan, LearnsFromATeacherWithItsOwnTokens) {
  const RunResult result = run_it(load(distilled(40)));
  const nn::ModelState small = checkpoint::load_model(stage_folder("small") / "model");
  EXPECT_EQ(small.config.family, "dan");
  EXPECT_EQ(small.tensors.at("embeddings.weight").sizes(), torch::IntArrayRef({tokens_, 6}));
  EXPECT_EQ(small.tensors.at("dense.0.weight").sizes(), torch::IntArrayRef({8, 6}));
  EXPECT_EQ(small.config.labels, (std::vector<std::string>{"negative", "positive"}));
  EXPECT_TRUE(fs::exists(stage_folder("small") / "model/tokenizer.json"));
  ASSERT_EQ(result.stages.size(), 3u);
  EXPECT_EQ(result.stages[2].validation.at(0).n, 8);
  // Films are good and plots bad: a few steps tell them apart.
  EXPECT_DOUBLE_EQ(result.stages[2].validation.at(0).value, 1.0);
}

TEST_F(Dan, GoesOnAsIfItHadNotStopped) {
  run_it(load(distilled(400)));
  const std::string whole = read_file(weights("small"));
  fs::remove_all(root_ / "run");
  interrupt(load(distilled(400)), "small");
  run_it(load(distilled(400)));
  EXPECT_EQ(read_file(weights("small")), whole);
}

TEST_F(Dan, IsAModelForLaterStages) {
  run_it(load(text(stage("small", student(), 2) + stage("more", "small", 2) +
                   stage("scores", "{from: small, head: classification}", 1,
                         ", objectives: [soft_labels: {}], teacher: more") +
                   "  - name: kept\n    export: {model: more, formats: [huggingface]}\n")));
  EXPECT_TRUE(fs::exists(stage_folder("kept") / "huggingface/model.safetensors"));
  EXPECT_FALSE(read_file(weights("more")) == read_file(weights("small")));
}

TEST_F(Dan, RefusesBeforeAnythingRuns) {
  auto said = [&](ErrorKind kind, const std::string& stages) {
    return tiny::error_of(kind, [&] { run_it(load(text(stages))); });
  };
  EXPECT_THAT(said(ErrorKind::model, stage("small", empty(), 1)), HasSubstr("initialise"));
  EXPECT_THAT(said(ErrorKind::recipe,
                   stage("small", "{from: " + empty() + ", initialise: {layers: 3}}", 1)),
              HasSubstr("has no layers"));
  EXPECT_THAT(said(ErrorKind::recipe, stage("small", student(", drop_layers: {keep: 1}"), 1)),
              HasSubstr("drop_layers edits layers"));
  EXPECT_THAT(said(ErrorKind::recipe, stage("small", student(", lora: {}"), 1)),
              HasSubstr("lora edits layers"));
  EXPECT_THAT(said(ErrorKind::recipe,
                   stage("small", student(), 1,
                         ", teachers: {self: student}, objectives: [hidden_states: {}]")),
              HasSubstr("no layers"));
  EXPECT_FALSE(fs::exists(root_ / "run/stages/small/model"));
}

}  // namespace
}  // namespace compress::pipeline
