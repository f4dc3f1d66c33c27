// Stages that leave numbers and rows: their arithmetic by hand, and runs on tiny models.

#include <gmock/gmock.h>

#include <cmath>

#include "../../../src/pipeline/stages/annotated.h"
#include "../../../src/pipeline/stages/measure/arithmetic.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/generate/texts.h"
#include "compress/storage/safetensors.h"
#include "support/failure.h"
#include "unit/nn/writers.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::Tensor;

TEST(Measuring, AContributionIsTheMeanCosineOfInputAndOutput) {
  const std::vector<Tensor> hidden = {torch::tensor({{1.0F, 0.0F}, {0.0F, 1.0F}, {1.0F, 1.0F}}),
                                      torch::tensor({{1.0F, 0.0F}, {1.0F, 0.0F}, {2.0F, 2.0F}}),
                                      torch::tensor({{0.0F, 1.0F}, {1.0F, 1.0F}, {-1.0F, -1.0F}})};
  const Tensor all = contribution_sums(hidden, {});
  ASSERT_EQ(all.numel(), 2);
  EXPECT_NEAR(all[0].item<double>(), 1 + 0 + 1, 1e-12);
  EXPECT_NEAR(all[1].item<double>(), 0 + 1 / std::sqrt(2.0) - 1, 1e-12);
  const Tensor some = contribution_sums(hidden, torch::tensor({0, 2}));
  EXPECT_NEAR(some[0].item<double>(), 2, 1e-12);
  EXPECT_NEAR(some[1].item<double>(), -1, 1e-12);
}

TEST(Measuring, LossesAreThoseOfEachToken) {
  const float three = std::log(3.0F);
  const Tensor losses =
      token_losses(torch::tensor({{0.0F, 0.0F}, {0.0F, three}}), torch::tensor({0, 0}));
  EXPECT_NEAR(losses[0].item<float>(), std::log(2.0), 1e-6);
  EXPECT_NEAR(losses[1].item<float>(), std::log(4.0), 1e-6);
}

TEST(Measuring, LossesOfRowsAreJoinedInTheOrderOfRows) {
  const Joined joined = join_rows(torch::tensor({2, 0, 1}), torch::tensor({1, 2, 0}),
                                  torch::tensor({5.0F, 6.0F, 7.0F}));
  EXPECT_TRUE(torch::equal(joined.values, torch::tensor({6.0F, 7.0F, 5.0F})));
  EXPECT_TRUE(torch::equal(joined.offsets, torch::tensor({0, 2, 2, 3})));
}

TEST(Measuring, HardTokensAreThoseThatAModelTakesForOthers) {
  data::Batch batch;
  batch.token_ids = torch::tensor({0, 1, 2, 1, 2});
  batch.positions = torch::tensor({0, 1, 2, 0, 1});
  batch.row_offsets = {0, 3, 5};
  batch.example_ids = {4, 5};
  const float two = std::log(2.0F);
  // The tokens' probabilities: a special one's, 2 / 4, 2 / 4, 1 / 4 (another has 2 / 4), 2 / 4.
  const Tensor logits = torch::tensor({{0.0F, two, 0.0F},
                                       {0.0F, two, 0.0F},
                                       {0.0F, 0.0F, two},
                                       {0.0F, 0.0F, two},
                                       {0.0F, 0.0F, two}});
  const Sets wrong = hard_tokens_of(logits, batch, -1, {0});
  EXPECT_THAT(wrong.counts, ElementsAre(0, 1));
  EXPECT_TRUE(torch::equal(wrong.positions, torch::tensor({0}, torch::kInt32)));
  EXPECT_EQ(wrong.ordinary, 4);
  // Losses: log 2 of the tokens that are found, log 4 of the other.
  const Sets all = hard_tokens_of(logits, batch, 0.69, {0});
  EXPECT_THAT(all.counts, ElementsAre(2, 2));
  EXPECT_TRUE(torch::equal(all.positions, torch::tensor({1, 2, 0, 1}, torch::kInt32)));
  EXPECT_THAT(hard_tokens_of(logits, batch, 0.70, {0}).counts, ElementsAre(0, 1));
  EXPECT_THAT(hard_tokens_of(logits, batch, -1, {}).counts, ElementsAre(1, 1));
}

TEST(Annotating, SoftLabelsAreProbabilitiesAtATemperature) {
  const Tensor logits = torch::tensor({{0.0, std::log(9.0)}});
  EXPECT_TRUE(torch::allclose(soft_labels_of(logits, 1), torch::tensor({{0.1, 0.9}})));
  EXPECT_TRUE(torch::allclose(soft_labels_of(logits, 2), torch::tensor({{0.25, 0.75}})));
}

class Stages : public Folder {
 protected:
  std::string a_stage(const std::string& name, const std::string& kind,
                      const std::string& options) const {
    return "  - name: " + name + "\n    " + kind + ": {" + options + "}\n";
  }
  std::vector<nn::Json> rows(const std::string& name) const {
    std::vector<nn::Json> list;
    for (const std::string& line : split(read_file(stage_folder(name) / "rows.jsonl"), '\n'))
      if (!line.empty()) list.push_back(nn::Json::parse(line));
    return list;
  }
  std::vector<std::string> recorded(const std::string& name) const {
    std::vector<std::string> files;
    const nn::Json kept = record(name);
    for (const nn::Json& file : kept.at("files")) files.push_back(file.at("path"));
    return files;
  }
  // A GPT-2 of one layer that reads the tiny tokenizer's words.
  std::string writer() const {
    checkpoint::save_model(*nn::build(nn::tiny_gpt2(), 0), root_ / "writer");
    tiny::write_tokenizer(root_ / "writer");
    return (root_ / "writer").string();
  }
  std::string texts() const {
    return "  texts: {train: " + (root_ / "train.tsv").string() +
           ", validation: " + (root_ / "dev.tsv").string() +
           ", text: text, task: language_model, max_length: 12}\n";
  }
};

TEST_F(Stages, ALayerThatChangesNothingHasTheHighestContribution) {
  nn::TensorMap tensors = tiny::tensors();
  for (const char* norm : {"encoder.layer.0.output.LayerNorm", "encoder.layer.1.output.LayerNorm",
                           "encoder.layer.1.attention.output.LayerNorm"}) {
    tensors[std::string(norm) + ".weight"] = torch::ones({8});
    tensors[std::string(norm) + ".bias"] = torch::zeros({8});
  }
  for (const char* dense :
       {"encoder.layer.1.attention.output.dense", "encoder.layer.1.output.dense"})
    for (const char* part : {".weight", ".bias"}) tensors[std::string(dense) + part].zero_();
  tiny::write(root_ / "base", tensors);
  const Recipe recipe =
      load(text(a_stage("m", "measure", "model: " + base() + ", data: films, batch: 3"),
                "expect:\n  - {stage: m, number: layers.1, at_least: 0.9999}\n"
                "  - {stage: m, number: layers.0, at_most: 0.9}\n"));
  const RunResult result = run_it(recipe);
  EXPECT_TRUE(result.held());
  const nn::Json numbers = nn::Json::parse(read_file(stage_folder("m") / "numbers.json"));
  EXPECT_EQ(numbers.at("layers").size(), 2U);
  EXPECT_NEAR(numbers.at("layers")[1], 1, 1e-6);
  EXPECT_EQ(numbers.at("rows"), 8);
  EXPECT_EQ(numbers.at("tokens"), 8);  // the first of each row
  EXPECT_THAT(recorded("m"), ElementsAre("numbers.json"));
  // The same numbers however rows come together; another one of all tokens.
  EXPECT_EQ(how(run_it(load(recipe.resolved, {"stages.m.measure.batch=64"}))), "skipped");
  const RunResult all = run_it(load(recipe.resolved, {"stages.m.measure.token=all"}));
  EXPECT_EQ(how(all), "ran");
  EXPECT_GT(all.stages[0].numbers.at("tokens").get<int64_t>(), 8);
  write_file(stage_folder("m") / "numbers.json", "{}");
  EXPECT_EQ(how(run_it(load(recipe.resolved, {"stages.m.measure.token=all"}))), "ran");
}

// A decoder whose last layer adds nothing: of an encoder-decoder each stack has numbers of its own,
// and one number says which of its layers go first.
TEST_F(Stages, ADecoderHasContributionsOfItsOwn) {
  nn::ModelState state = nn::tiny_t5(2);
  for (auto& [name, tensor] : state.tensors)
    if (starts_with(name, "decoder.block.1.") &&
        (name.find(".o.") != std::string::npos || name.find(".wo.") != std::string::npos))
      tensor = torch::zeros_like(tensor);
  state.tensors["decoder.final_layer_norm.weight"].fill_(1);
  checkpoint::save_model(*nn::build(state, 0), root_ / "t5");
  tiny::write_tokenizer(root_ / "t5");
  const std::string t5 = (root_ / "t5").string(), texts = root_.string() + "/";
  const Recipe recipe = load(text(
      a_stage("m", "measure", "model: " + t5 + ", data: pairs, token: last") +
          "  - name: short\n    train: {model: {from: " + t5 +
          ", drop_layers: {by: m, drop: 1, stack: decoder}}, data: pairs, for: 1 step, " + common +
          "}\n",
      "  pairs: {train: " + texts + "train.tsv, validation: " + texts +
          "dev.tsv, text: text, target: label, task: sequence_to_sequence, max_length: 12}\n"));
  const RunResult result = run_it(recipe);
  const nn::Json& numbers = result.stages[0].numbers;
  ASSERT_EQ(numbers.at("layers").size(), 2U);
  ASSERT_EQ(numbers.at("decoder_layers").size(), 2U);
  EXPECT_NEAR(numbers.at("decoder_layers")[1].get<double>(), 1, 1e-6);
  EXPECT_LT(numbers.at("decoder_layers")[0].get<double>(), 0.999);
  EXPECT_LT(numbers.at("layers")[1].get<double>(), 0.999);
  EXPECT_THAT(result.stages[1].notes, testing::Contains(HasSubstr("decoder kept 0 of 2")));
}

// What quantisation without training leaves is what later stages score, export and refuse to
// quantise again.
TEST_F(Stages, AFinishedModelIsQuantisedWithoutTraining) {
  const std::string ways[] = {"{activation_range: min_max}",
                              "{activation_scale: dynamic, embeddings: int8}",
                              "{rounding: gptq, weight_range: mse, activation_range: percentile}"};
  for (const std::string& how : ways) {
    const Recipe recipe = load(
        text(stage("base", "{from: " + base() + "}", 2) +
             a_stage("int8", "calibrate",
                     "model: base, data: films, rows: 9, batch: 4, quantization: " + how) +
             a_stage("scored", "evaluate", "model: int8, data: films") +
             a_stage("out", "export", "model: int8, formats: [huggingface, compressed-tensors]")));
    EXPECT_THAT(plan_text(recipe), HasSubstr("calibrate base: "));
    const RunResult result = run_it(recipe, true);
    const StageResult& made = result.stages[1];
    EXPECT_TRUE(made.quantized);
    EXPECT_TRUE(fs::exists(stage_folder("int8") / "model" / "quantization.json"));
    ASSERT_FALSE(made.test.empty());
    EXPECT_EQ(made.test[0].value, result.stages[2].test[0].value);
    EXPECT_TRUE(result.stages[2].quantized);
    EXPECT_EQ(result.stages[3].exports.size(), 2U);
    const std::string first = read_file(stage_folder("int8") / "model" / "quantization.json");
    EXPECT_EQ(run_it(recipe, true).stages[1].bytes, made.bytes);
    EXPECT_EQ(read_file(stage_folder("int8") / "model" / "quantization.json"), first);
  }
  const std::string twice = stage("base", "{from: " + base() + "}", 2) +
                            a_stage("int8", "calibrate", "model: base, data: films") +
                            a_stage("again", "calibrate", "model: int8, data: films");
  EXPECT_THAT(failure([&] { run_it(load(text(twice))); }).message(),
              HasSubstr("'int8' is quantised already"));
}

TEST_F(Stages, LossesOfTokensMakeThePerplexity) {
  const std::string model = writer();
  const RunResult result = run_it(
      load(text(a_stage("m", "measure", "model: " + model + ", data: texts, what: token_losses") +
                    a_stage("s", "evaluate", "model: " + model + ", data: texts"),
                texts())));
  const nn::Json& numbers = result.stages[0].numbers;
  EXPECT_NEAR(numbers.at("perplexity").get<double>(), result.stages[1].validation.at(0).value,
              1e-3);
  EXPECT_THAT(recorded("m"), ElementsAre("numbers.json", "store/token_losses.safetensors"));
  const storage::SafetensorsReader store(stage_folder("m") / "store/token_losses.safetensors");
  Tensor losses, offsets;
  for (const storage::TensorView& tensor : store.tensors())
    (tensor.name == "losses" ? losses : offsets) = checkpoint::view(tensor).clone();
  EXPECT_EQ(offsets.numel(), 9);
  EXPECT_EQ(offsets[8].item<int64_t>(), losses.numel());
  EXPECT_NEAR(losses.mean().item<double>(), numbers.at("loss"), 1e-5);
  // Row 0 has four tokens with its ends, row 1 one more.
  EXPECT_EQ(offsets[2].item<int64_t>() - 2 * offsets[1].item<int64_t>(), 1);
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe,
                             [&] {
                               run_it(load(text(a_stage(
                                   "m", "measure",
                                   "model: " + base() + ", data: films, what: token_losses"))));
                             }),
              testing::AllOf(HasSubstr("has no losses of tokens"), HasSubstr("recipe.yaml:")));
}

// Self-evolution: what a masked LM has not learnt is hidden, and what it says of the whole row is
// a part of the target.
TEST_F(Stages, HardTokensAreWhatALaterStageHides) {
  const std::string words = "  words: {train: " + (root_ / "train.tsv").string() +
                            ", text: text, task: unlabelled, max_length: 12}\n";
  const std::string measured = "model: lm, data: words, part: train, what: hard_tokens";
  auto chain = [&](const std::string& data) {
    return text(
        a_stage("lm", "train",
                "model: {from: " + base() + ", head: masked_lm}, data: words, for: 30 steps, " +
                    common + ", optimizer: {adamw: {lr: 1e-2}}, augment: [masking: {}]") +
            a_stage("hard", "measure", measured) +
            a_stage("evolved", "train",
                    "model: lm, data: " + data + ", for: 8 steps, " + common +
                        ", augment: [masking: {sets: hard, masked: 1, random: 0}], teachers: "
                        "{self: student}, objectives: [labels: {weight: 0.9}, soft_labels: "
                        "{teacher: self, weight: 0.1}]"),
        words + "  few: {train: " + (root_ / "train.tsv").string() +
            ", text: text, task: unlabelled, limit: 20, max_length: 12}\n"
            "expect:\n  - {stage: hard, number: share, at_least: 0.01}\n");
  };
  EXPECT_THAT(plan_text(load(chain("words"))), HasSubstr("teacher 'self': the student itself"));
  const RunResult result = run_it(load(chain("words")));
  EXPECT_TRUE(result.held());
  EXPECT_THAT(recorded("hard"), ElementsAre("numbers.json", "store/hard_tokens.safetensors"));
  const nn::Json numbers = nn::Json::parse(read_file(stage_folder("hard") / "numbers.json"));
  const storage::SafetensorsReader store(stage_folder("hard") / "store/hard_tokens.safetensors");
  EXPECT_EQ(store.at("values").shape, (std::vector<int64_t>{numbers.at("hard").get<int64_t>()}));
  EXPECT_EQ(store.at("offsets").shape, (std::vector<int64_t>{25}));
  EXPECT_GT(numbers.at("tokens").get<int64_t>(), numbers.at("hard").get<int64_t>());
  // Sets of other rows fit none.
  EXPECT_THAT(tiny::error_of(ErrorKind::model, [&] { run_it(load(chain("few"))); }),
              HasSubstr("values of 24 rows, and the data has 20"));
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe,
                             [&] {
                               run_it(load(text(a_stage(
                                   "hard", "measure",
                                   "model: " + base() + ", data: films, what: hard_tokens"))));
                             }),
              HasSubstr("hard_tokens needs a masked_lm"));
}

// DistilBERT's masking: tokens are counted once, and hidden by how rare they are.
TEST_F(Stages, CountsAreTheOddsOfMasking) {
  const std::string recipe = text(
      a_stage("lm", "train",
              "model: {from: " + base() + ", head: masked_lm}, data: words, for: 2 steps, " +
                  common + ", augment: [masking: {}]") +
          a_stage("seen", "measure", "model: lm, data: words, part: train, what: token_counts") +
          a_stage("student", "train",
                  str("model: lm, teacher: lm, data: words, for: 3 steps, length_width: 4, ") +
                      common +
                      ", augment: [masking: {draw: update, counts: seen, predict: all}], "
                      "objectives: [soft_labels: {temperature: 2, weight: 5}, labels: {tokens: "
                      "masked, weight: 2}]"),
      "  words: {train: " + (root_ / "train.tsv").string() +
          ", text: text, task: unlabelled, max_length: 12, min_length: 4}\n");
  EXPECT_THAT(plan_text(load(recipe)), HasSubstr("measure token_counts of lm"));
  run_it(load(recipe));
  EXPECT_THAT(recorded("seen"), ElementsAre("numbers.json", "store/token_counts.safetensors"));
  const nn::Json numbers = nn::Json::parse(read_file(stage_folder("seen") / "numbers.json"));
  const storage::SafetensorsReader store(stage_folder("seen") / "store/token_counts.safetensors");
  const storage::TensorView& counts = store.at("counts");
  const auto* count = static_cast<const int64_t*>(counts.data);
  EXPECT_EQ(std::accumulate(count, count + counts.elements(), int64_t{0}),
            numbers.at("tokens").get<int64_t>());
}

TEST_F(Stages, AnnotatedRowsAreADataSetOfTheirOwn) {
  const std::string silver =
      "  silver: {train: {stage: label}, text: text, soft_labels: [positive, negative], "
      "max_length: 12}\n"
      "  hard: {train: {stage: label}, validation: " +
      (root_ / "dev.tsv").string() + ", text: text, label: label, labels: [negative, positive]}\n";
  const std::string stages =
      stage("t", base(), 2) + a_stage("label", "annotate", "model: t, data: films") +
      a_stage("b", "train", "model: " + base() + ", data: silver, for: 3 steps, " + common) +
      a_stage("c", "train", "model: " + base() + ", data: hard, for: 3 steps, " + common);
  const Recipe recipe = load(text(stages, silver));
  EXPECT_THAT(plan_text(recipe),
              testing::AllOf(HasSubstr("rows.jsonl: 24 rows of text, label, negative, positive"),
                             HasSubstr("(24 rows, 6 updates an epoch)")));
  const RunResult result = run_it(recipe);
  EXPECT_EQ(how(result), "ran ran ran ran");
  EXPECT_EQ(result.stages[3].validation.at(0).n, 8);
  const std::vector<nn::Json> made = rows("label");
  ASSERT_EQ(made.size(), 24U);
  EXPECT_EQ(made[0].at("text"), "the film good");
  EXPECT_EQ(made[23].at("text"), "the plot bad dull dull dull");
  // The probabilities are the model's own.
  const exports::LoadedModel teacher = exports::load(stage_folder("t") / "model");
  const auto tokenizer = checkpoint::load_tokenizer(base());
  const data::Split split = data::load_split(recipe.dataset("films"), "train", *tokenizer);
  const std::vector<int64_t> row = {5};
  teacher.model->params().refresh(nn::Precision::float32);
  const Tensor p = at::softmax(teacher.model->forward(data::pack(split, row), {}, {}).logits, 1);
  EXPECT_NEAR(made[5].at("negative"), p[0][0].item<double>(), 1e-5);
  EXPECT_NEAR(made[5].at("positive"), p[0][1].item<double>(), 1e-5);
  EXPECT_EQ(made[5].at("label"),
            p[0][0].item<float>() > p[0][1].item<float>() ? "negative" : "positive");
  // A part of the identity of what is trained on them, with what they were made from.
  EXPECT_EQ(how(run_it(recipe)), "skipped skipped skipped skipped");
  EXPECT_EQ(record("b").at("made_from").size(), 1U);
  EXPECT_EQ(how(run_it(load(recipe.resolved, {"stages.label.annotate.temperature=2"}))),
            "skipped ran ran ran");
  const std::string lines = read_file(stage_folder("label") / "rows.jsonl");
  write_file(stage_folder("label") / "rows.jsonl", lines.substr(lines.find('\n') + 1));
  EXPECT_EQ(how(run_it(load(recipe.resolved, {"stages.label.annotate.temperature=2"}))),
            "skipped ran skipped skipped");  // the same rows again
}

TEST_F(Stages, WhatCannotLabelTextsIsRefused) {
  const std::string model = writer();
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe,
                             [&] {
                               run_it(load(text(
                                   a_stage("l", "annotate", "model: " + model + ", data: films"))));
                             }),
              testing::AllOf(HasSubstr("a model with the head 'causal_lm' labels no texts"),
                             HasSubstr("(stages.l.annotate.model)")));
  EXPECT_THAT(tiny::error_of(ErrorKind::recipe,
                             [&] {
                               load(text(a_stage("l", "annotate",
                                                 "model: " + base() + ", data: only, device: gpu"),
                                         "  only: {test: " + (root_ / "test.tsv").string() +
                                             ", text: text, task: unlabelled}\n"));
                             }),
              testing::AllOf(HasSubstr("has no train part"), HasSubstr("unknown device 'gpu'")));
}

TEST_F(Stages, AModelWritesRowsBehindPrompts) {
  const std::string model = writer();
  const std::string drawn = "model: " + model +
                            ", prompt: the film, count: 6, sample: true, max_new_tokens: 5, "
                            "top_k: 0, with_prompt: true, batch: ";
  const Recipe recipe = load(text(
      a_stage("g", "generate", "model: " + model + ", data: texts, max_new_tokens: 4, batch: 5") +
          a_stage("h", "generate", drawn + "1") + a_stage("i", "generate", drawn + "4"),
      texts()));
  run_it(recipe);
  const std::vector<nn::Json> written = rows("g");
  ASSERT_LE(written.size(), 24U);
  ASSERT_GT(written.size(), 0U);
  // The best tokens behind the first prompt, as the model itself writes them.
  exports::LoadedModel loaded = exports::load(model);
  const auto tokenizer = checkpoint::load_tokenizer(model);
  loaded.model->params().refresh(nn::Precision::float32);
  const text::Encoding prompt = tokenizer->encode(written[0].at("prompt").get<std::string>());
  const generate::Tokens ids(prompt.ids.begin(), prompt.ids.end());
  generate::Options how;
  how.max_new_tokens = 4;
  const auto found = generate::generate(*loaded.model, {ids}, how);
  EXPECT_EQ(written[0].at("text"), generate::text_of(*tokenizer, ids, found.at(0).ids));
  // What is drawn differs from row to row, and not with the batch: other seeds, other texts.
  const std::vector<nn::Json> one = rows("h"), four = rows("i");
  std::set<std::string> different;
  for (const nn::Json& row : one) different.insert(row.at("text").get<std::string>());
  EXPECT_GT(different.size(), 1U);
  for (const std::string& row : different) EXPECT_THAT(row, testing::StartsWith("the film"));
  EXPECT_NE(read_file(stage_folder("h") / "rows.jsonl"),
            read_file(stage_folder("i") / "rows.jsonl"));
  const std::string before = read_file(stage_folder("h") / "rows.jsonl");
  run_it(load(recipe.resolved, {"stages.h.generate.batch=4"}), /*fresh=*/true);
  EXPECT_EQ(read_file(stage_folder("h") / "rows.jsonl"), before);
}

TEST_F(Stages, WhatCannotBeWrittenIsRefusedBeforeAnythingRuns) {
  const std::string model = writer();
  auto refused = [&](ErrorKind kind, const std::string& options) {
    return tiny::error_of(kind,
                          [&] { run_it(load(text(a_stage("g", "generate", options), texts()))); });
  };
  EXPECT_THAT(refused(ErrorKind::recipe, "model: " + model),
              HasSubstr("exactly one of `data` and `prompt`"));
  EXPECT_THAT(refused(ErrorKind::recipe, "model: " + model + ", prompt: good, count: 3"),
              testing::AllOf(HasSubstr("count is 3 for 1 prompt"), HasSubstr("sample: true")));
  EXPECT_THAT(
      refused(ErrorKind::recipe, "model: " + model + ", prompt: good, sample: true, num_beams: 2"),
      testing::AllOf(HasSubstr("sampling and beams"), HasSubstr("recipe.yaml:")));
  EXPECT_THAT(refused(ErrorKind::model, "model: " + base() + ", prompt: good"),
              HasSubstr("(stages.g.generate.model)"));
  EXPECT_FALSE(fs::exists(root_ / "run"));
}

TEST_F(Stages, OptionsOfAWayThatIsNotTakenAreToldOf) {
  const std::string model = writer();
  auto planned = [&](const std::string& options) {
    return plan_text(load(
        text(a_stage("g", "generate", "model: " + model + ", prompt: good" + options), texts())));
  };
  EXPECT_THAT(planned(", top_k: 5, temperature: 0.7"),
              testing::AllOf(HasSubstr("warning       "), HasSubstr("recipe.yaml:"),
                             HasSubstr("temperature, top_k without effect: no token is drawn")));
  EXPECT_THAT(planned(", length_penalty: 2"), HasSubstr("length_penalty without effect"));
  EXPECT_THAT(planned(", top_k: 5, sample: true"), testing::Not(HasSubstr("without effect")));
  EXPECT_THAT(planned(", length_penalty: 2, num_beams: 2"),
              testing::Not(HasSubstr("without effect")));
}

// Updates with this rate move no float32 number.
constexpr const char* still = ", optimizer: {adamw: {lr: 1e-30, weight_decay: 0}}";

// A stage that goes on with another's projection begins where that ended; without the option it
// draws the one that the other began with.
TEST_F(Stages, TrainedHelpersAreGoneOnWith) {
  const std::string terms = ", teacher: " + base() +
                            ", objectives: [hidden_states: {projection: always, "
                            "projection_bias: true}]";
  run_it(load(text(stage("first", base(), 3, terms + ", optimizer: {sgd: {lr: 0.1}}") +
                   stage("kept", "first", 1, terms + ", helpers: first" + still) +
                   stage("drawn", "first", 1, terms + still))));
  auto helpers = [&](const std::string& name) {
    return checkpoint::load_state(stage_folder(name) / "helpers.safetensors").tensors;
  };
  const nn::TensorMap first = helpers("first"), kept = helpers("kept"), drawn = helpers("drawn");
  ASSERT_EQ(first.size(), 2U);
  for (const auto& [name, tensor] : first) {
    EXPECT_TRUE(torch::equal(tensor, kept.at(name))) << name;
    EXPECT_FALSE(torch::equal(tensor, drawn.at(name))) << name;
  }
}

TEST_F(Stages, ThereAreHelpersToGoOnWith) {
  const std::string terms = ", teacher: " + base() + ", objectives: [hidden_states: {projection: ";
  auto refused = [&](const std::string& first, const std::string& second) {
    const Recipe recipe = load(text(stage("first", base(), 1, terms + first) +
                                    stage("second", "first", 1, terms + second)));
    return tiny::error_of(ErrorKind::recipe, [&] { plan_text(recipe); });
  };
  EXPECT_THAT(refused("auto}]", "always}], helpers: first"),
              HasSubstr("'first' has none of the trained helpers of this stage"));
  EXPECT_THAT(refused("always}]", "auto}], helpers: first"), HasSubstr("has none"));
  EXPECT_THAT(
      tiny::error_of(
          ErrorKind::recipe,
          [&] { load(text(stage("only", base(), 1, terms + "always}], helpers: " + base()))); }),
      HasSubstr("is no training stage"));
}

}  // namespace
}  // namespace compress::pipeline
