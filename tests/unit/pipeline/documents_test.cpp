// Masked words and next sentences on one body, from a file of documents to scores of both heads.

#include <gmock/gmock.h>

#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;

class Documents : public Folder {
 protected:
  void SetUp() override {
    Folder::SetUp();
    write_documents("train.txt", 30);
    write_documents("dev.txt", 8);
  }
  // Documents of good films or of bad plots, two to four sentences each.
  void write_documents(const std::string& file, int count) const {
    std::string text;
    for (int d = 0; d < count; ++d) {
      for (int s = 0; s < 2 + d % 3; ++s) text += d % 2 == 0 ? "the film good\n" : "the plot bad\n";
      text += "\n";
    }
    write_file(root_ / file, text);
  }
  std::string recipe(int steps) const {
    const std::string at = root_.string() + "/";
    return "name: tiny\ndata:\n  pages: {task: next_sentence, format: text, train: " + at +
           "train.txt, validation: " + at + "dev.txt, text: 0, max_length: 12, duplicates: 3}\n" +
           "stages:\n  - name: both\n    train: {model: {from: " + base() +
           ", heads: {next_sentence: classification}}, data: pages, for: " + str(steps) +
           " steps, " + common +
           ", augment: [masking: {}], objectives: [labels: {}, labels: {head: next_sentence}], "
           "optimizer: {adamw: {lr: 0.02}}, evaluate: {head: next_sentence}}\n"
           "  - name: taught\n    train: {model: both, teacher: both, data: pages, for: 4 steps, " +
           common +
           ", augment: [masking: {}], objectives: [soft_labels: {}, soft_labels: {head: "
           "next_sentence}]}\n"
           "  - name: words\n    evaluate: {model: taught, data: pages}\n"
           "  - name: order\n    evaluate: {model: taught, head: next_sentence, data: pages}\n";
  }
};

TEST_F(Documents, TrainBothHeadsOfBertForPreTraining) {
  const RunResult result = run_it(load(recipe(150)));
  const nn::Json config = nn::Json::parse(read_file(stage_folder("both") / "model/config.json"));
  EXPECT_EQ(config.at("architectures").at(0), "BertForPreTraining");
  ASSERT_EQ(result.stages.size(), 4u);
  // B is of the other kind where it does not follow A, or by chance of the same.
  EXPECT_EQ(result.stages[0].validation.at(0).name, "accuracy");
  EXPECT_GT(result.stages[0].validation.at(0).value, 0.7);
  EXPECT_EQ(result.stages[2].validation.at(0).name, "perplexity");
  EXPECT_LT(result.stages[2].validation.at(0).value, 20);
  EXPECT_EQ(result.stages[3].validation.at(0).name, "accuracy");
}

TEST_F(Documents, GoOnAsIfTheyHadNotStopped) {
  run_it(load(recipe(200)));
  const std::string whole = read_file(weights("taught"));
  fs::remove_all(root_ / "run");
  interrupt(load(recipe(200)), "both");
  run_it(load(recipe(200)));
  EXPECT_EQ(read_file(weights("taught")), whole);
}

}  // namespace
}  // namespace compress::pipeline
