// What edits of a stage's model find in a run: data, numbers, other models, a tokenizer to write.

#include <gmock/gmock.h>

#include "stage.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::HasSubstr;

class Edits : public Folder {
 protected:
  // A model of the folder with these edits.
  std::string edited(const std::string& edits, const std::string& from = "") const {
    return "{from: " + (from.empty() ? base() : from) + ", " + edits + "}";
  }
  // A second data set, whose texts have one word.
  std::string words(const std::string& word) const {
    write_file(root_ / "words.tsv", "text\n" + word + "\n");
    return text(stage("a", edited("trim_vocabulary: words"), 1))
        .replace(std::string("name: tiny\ndata:\n").size(), 0,
                 "  words: {train: " + (root_ / "words.tsv").string() +
                     ", text: text, task: unlabelled}\n");
  }
  static int64_t tokens(const fs::path& model) { return checkpoint::load_config(model).vocab_size; }
};

TEST_F(Edits, ATrimmedTokenizerIsSavedAndRead) {
  const std::string trim = edited("trim_vocabulary: {data: films, at_least: 2}");
  const RunResult result = run_it(load(text(stage("a", trim, 2) + stage("b", "a", 1))));
  const int64_t count = tokens(stage_folder("a") / "model");
  EXPECT_LT(count, tokens(base()));
  EXPECT_EQ(tokens(stage_folder("b") / "model"), count);
  for (const char* name : {"a", "b"})
    EXPECT_EQ(checkpoint::load_tokenizer(stage_folder(name) / "model")->vocabulary_size(), count);
  EXPECT_THAT(
      result.stages[0].notes,
      testing::Contains(HasSubstr("40 tokens to 39; of the 108 tokens of films 100.00 % stay")));
  EXPECT_EQ(how(run_it(load(text(stage("a", trim, 2) + stage("b", "a", 1))))), "skipped skipped");
}

TEST_F(Edits, OtherTextsRunTheStageAgain) {
  run_it(load(words("film")));
  EXPECT_EQ(how(run_it(load(words("film")))), "skipped");
  (void)news();
  EXPECT_EQ(how(run_it(load(words("plot")))), "ran");
  EXPECT_THAT(news(), HasSubstr("data of model.trim_vocabulary.data.train: other content"));
}

// An edit's data comes first among what the stage reads.
TEST_F(Edits, LeaveTheStageItsOwnData) {
  const Recipe recipe = load(words("film"));
  EXPECT_EQ(dataset_of(recipe.options, *recipe.stage("a")), "films");
}

TEST_F(Edits, AnInterruptedStageGoesOn) {
  const std::string stages =
      stage("a", edited("trim_vocabulary: films"), 80, ", checkpoint: 1 step");
  interrupt(load(text(stages)), "a");
  run_it(load(text(stages)));
  const std::string resumed = read_file(weights("a"));
  run_it(load(text(stages)), true);
  EXPECT_EQ(resumed, read_file(weights("a")));
}

TEST_F(Edits, NumbersOfAStageBefore) {
  const std::string b = stage("b", edited("drop_layers: {by: a, keep: 1}"), 1);
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { load(text(stage("a", base(), 1) + b)); }),
              HasSubstr("stage 'a' leaves no numbers"));
  const std::string measured =
      "  - name: a\n    measure: {model: " + base() + ", data: films, part: train}\n" + b;
  EXPECT_THAT(plan_text(load(text(measured))),
              HasSubstr("drop_layers reads the numbers of stage 'a'"));
  const RunResult result = run_it(load(text(measured)));
  EXPECT_EQ(checkpoint::load_config(stage_folder("b") / "model").layers, 1);
  EXPECT_THAT(result.stages[1].notes,
              testing::Contains(HasSubstr("by the similarities that stage 'a' measured")));
  EXPECT_EQ(how(run_it(load(text(measured)))), "skipped skipped");
}

TEST_F(Edits, LayersOfAnotherStage) {
  const std::string stages =
      stage("a", base(), 2) + stage("b", edited("initialise: {from: a, layers: 1, map: [1]}"), 1,
                                    ", optimizer: {sgd: {lr: 1e-12}}");
  run_it(load(text(stages)));
  const nn::ModelState a = checkpoint::load_model(stage_folder("a") / "model"),
                       b = checkpoint::load_model(stage_folder("b") / "model");
  EXPECT_EQ(b.config.layers, 1);
  EXPECT_TRUE(torch::allclose(b.tensors.at("encoder.layer.0.output.dense.weight"),
                              a.tensors.at("encoder.layer.1.output.dense.weight"), 0, 1e-6));
  EXPECT_TRUE(torch::allclose(b.tensors.at("embeddings.word_embeddings.weight"),
                              a.tensors.at("embeddings.word_embeddings.weight"), 0, 1e-6));
  EXPECT_EQ(how(run_it(load(text(stages), {"stages.a.train.batch=2"}))), "ran ran");
}

TEST_F(Edits, SeedsOfStages) {
  const std::string stages = stage("a", edited("initialise: {}"), 1, ", seed: 1") +
                             stage("b", edited("initialise: {}"), 1, ", seed: 1");
  run_it(load(text(stages)));
  EXPECT_FALSE(checkpoint::load_model(stage_folder("a") / "model")
                   .tensors.at("encoder.layer.0.output.dense.weight")
                   .allclose(checkpoint::load_model(stage_folder("b") / "model")
                                 .tensors.at("encoder.layer.0.output.dense.weight")));
}

TEST_F(Edits, NamesAreCheckedWhenTheRecipeIsRead) {
  const char* cases[][2] = {
      {"trim_vocabulary: film", "there is no data set 'film'"},
      {"drop_layers: {by: b, keep: 1}", "stage 'b' comes later"},
      {"drop_layers: {by: a, keep: 1}", "stage 'a' comes later"},
      {"initialise: {from: nowhere}", "'nowhere' is neither an earlier stage nor a folder"}};
  for (const auto& [edits, what] : cases)
    EXPECT_THAT(tiny::error_of(ErrorKind::recipe,
                               [&, edits = edits] {
                                 load(text(stage("a", edited(edits), 1) + stage("b", "a", 1)));
                               }),
                HasSubstr(what));
}

TEST_F(Edits, ATeacherMustReadTheSameTokens) {
  const std::string soft = ", objectives: [soft_labels], teacher: ";
  const std::string trim = edited("trim_vocabulary: films");
  const Recipe wrong = load(text(stage("a", base(), 1) + stage("b", trim, 1, soft + "a")));
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe, [&] { run_it(wrong); }),
              HasSubstr("the teacher 'a' has another tokenizer than the student"));
  EXPECT_FALSE(fs::exists(stage_folder("a") / "model")) << "nothing is trained before";
  run_it(load(text(stage("a", trim, 1) +
                   stage("b", edited("drop_layers: {keep: 1}", "a"), 1, soft + "a"))));
}

}  // namespace
}  // namespace compress::pipeline
