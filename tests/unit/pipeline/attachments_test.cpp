// Models with attachments through stages: trained, kept as a delta, read again, merged.

#include <gmock/gmock.h>

#include "compress/checkpoint/delta.h"
#include "unit/pipeline/folder.h"

namespace compress::pipeline {
namespace {

using testing::Contains;
using testing::HasSubstr;

class Attached : public Folder {
 protected:
  std::string chain() const {
    return text(
        stage("tuned", "{from: " + base() + ", lora: {rank: 2}, train: [attachment, pooler, head]}",
              4, ", augment: [hidden_noise: {sigma: 0.01}]") +
        "  - name: small\n    export: {model: tuned, base: " + base() + ", formats: [delta]}\n" +
        stage("more", "{from: tuned, adapter: {size: 2}, train: [attachment]}", 2) +
        stage("merged", "{from: tuned, merge: {}}", 1));
  }
};

TEST_F(Attached, GoThroughStagesToADelta) {
  const RunResult result = run_it(load(chain()));
  const fs::path delta = stage_folder("small") / "delta";
  const nn::ModelState tuned = checkpoint::load_model(stage_folder("tuned") / "model"),
                       small = checkpoint::load_model(delta),
                       more = checkpoint::load_model(stage_folder("more") / "model"),
                       merged = checkpoint::load_model(stage_folder("merged") / "model"),
                       plain = checkpoint::load_model(base());
  ASSERT_EQ(small.tensors.size(), tuned.tensors.size());
  int64_t changed = 0;
  for (const auto& [name, tensor] : tuned.tensors) {
    EXPECT_TRUE(torch::equal(small.tensors.at(name), tensor)) << name;
    const auto before = plain.tensors.find(name);
    changed += before == plain.tensors.end() || !torch::equal(before->second, tensor) ? 1 : 0;
  }
  // Two matrices beside query and value of two layers; weight and bias of pooler and head.
  EXPECT_EQ(changed, 2 * 2 * 2 + 4);
  EXPECT_LT(result.stages[1].exports.at(0).weight_bytes,
            static_cast<int64_t>(fs::file_size(root_ / "base/model.safetensors")) / 2);
  EXPECT_EQ(more.config.attachments.size(), 2u);
  EXPECT_TRUE(merged.config.attachments.empty());
  EXPECT_EQ(merged.tensors.size(), plain.tensors.size());
  EXPECT_THAT(result.stages[0].notes, Contains("lora: attached as lora"));
  EXPECT_THAT(result.stages[3].notes, Contains("merge: lora"));
}

TEST_F(Attached, ADeltaIsAModelForOtherStages) {
  run_it(load(chain()));
  const std::string delta = (root_ / "kept").string();
  fs::rename(stage_folder("small") / "delta", delta);
  const RunResult result = run_it(
      load(text(stage("again", delta, 1) + "  - name: scored\n    evaluate: {model: " + delta +
                ", data: films}\n" + "  - name: whole\n    export: {model: " + delta +
                ", formats: [huggingface]}\n")),
      /*fresh=*/true);
  EXPECT_EQ(result.stages[1].validation.at(0).n, 8);
  EXPECT_TRUE(fs::exists(stage_folder("whole") / "huggingface/vocab.txt"));
  EXPECT_EQ(checkpoint::load_model(stage_folder("again") / "model").config.attachments.size(), 1u);
}

TEST_F(Attached, RefusesBeforeAnythingRuns) {
  auto said = [&](const std::string& stages) {
    return tiny::error_of(ErrorKind::recipe, [&] { run_it(load(text(stages))); });
  };
  EXPECT_THAT(
      said(stage("a", base(), 1) + "  - name: b\n    export: {model: a, formats: [delta]}\n"),
      HasSubstr("needs a `base`"));
  EXPECT_THAT(said(stage("a", "{from: " + base() + ", train: [attachment]}", 1)),
              HasSubstr("`train` names 'attachment'"));
  EXPECT_THAT(said(stage("a", "{from: " + base() + ", lora: {targets: [quary]}}", 1)),
              HasSubstr("did you mean 'query'"));
  EXPECT_THAT(said(stage("a", "{from: " + base() + ", merge: {}}", 1)),
              HasSubstr("nothing attached"));
  EXPECT_FALSE(fs::exists(root_ / "run/stages/a/model"));
}

}  // namespace
}  // namespace compress::pipeline
