// Small checkpoints: written, read, refused.

#include "compress/checkpoint/delta.h"

#include "compress/export/export.h"
#include "compress/nn/attachment.h"
#include "unit/checkpoint/tiny.h"

namespace compress {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

class Delta : public tiny::Scratch {
 protected:
  void SetUp() override {
    Scratch::SetUp();
    tiny::write_tokenizer(base());
    checkpoint::save_model(*nn::build(tiny::state(), 1), base());
  }
  fs::path base() const { return root_ / "base"; }
  fs::path folder() const { return root_ / "delta"; }

  // The base with something attached, and another bias.
  static nn::ModelState tuned() {
    nn::ModelState state = tiny::state();
    nn::attach(state, nn::spec_of("task", nn::LoraOptions{.rank = 2}));
    nn::attach(state, nn::spec_of("more", nn::AdapterOptions{.size = 3}));
    state.tensors["classifier.bias"] = state.tensors["classifier.bias"] + 1;
    state = nn::build(state, 1)->state();
    for (auto& [name, tensor] : state.tensors)
      if (starts_with(name, "attachments.")) tensor = tensor + 0.125;
    return state;
  }
  static exports::LoadedModel loaded(const nn::ModelState& state) {
    exports::LoadedModel result;
    result.model = nn::build(state, 1);
    return result;
  }
  exports::Report write(const nn::ModelState& state, const fs::path& on) {
    exports::LoadedModel model = loaded(state);
    return exports::write("delta", model, base(), folder(), nullptr, nullptr, 1e-4, on);
  }
  static int64_t tensors_in(const fs::path& file) {
    return static_cast<int64_t>(storage::SafetensorsReader(file).tensors().size());
  }
};

TEST_F(Delta, HoldsWhatTheBaseHasNotAndReadsAsTheModel) {
  const nn::ModelState state = tuned();
  const exports::Report report = write(state, base());
  // Two layers: two pairs of matrices, two adapters of four tensors; and the bias.
  EXPECT_EQ(tensors_in(folder() / "delta.safetensors"), 2 * (2 * 2 + 2 * 4) + 1);
  EXPECT_LT(report.bytes, 20000);
  EXPECT_FALSE(fs::exists(folder() / "vocab.txt"));
  const nn::ModelState read = checkpoint::load_model(folder());
  ASSERT_EQ(read.tensors.size(), state.tensors.size());
  for (const auto& [name, tensor] : state.tensors)
    EXPECT_TRUE(torch::equal(read.tensors.at(name), tensor)) << name;
  EXPECT_EQ(nn::attachments_json(read.config.attachments),
            nn::attachments_json(state.config.attachments));
  // All that reads a model folder reads it.
  EXPECT_EQ(checkpoint::load_config(folder()).attachments.size(), 2u);
  EXPECT_EQ(checkpoint::tensor_shapes(folder()).size(), state.tensors.size());
  EXPECT_EQ(checkpoint::load_tokenizer(folder())->hash(),
            checkpoint::load_tokenizer(base())->hash());
  EXPECT_EQ(exports::load(folder()).model->params().numel(), nn::build(state, 1)->params().numel());
  // And writes a folder that needs no base.
  exports::LoadedModel whole = exports::load(folder());
  exports::write("huggingface", whole, folder(), root_ / "whole", nullptr, nullptr);
  EXPECT_TRUE(fs::exists(root_ / "whole" / "vocab.txt"));
  EXPECT_TRUE(torch::equal(checkpoint::load_model(root_ / "whole").tensors.at("classifier.bias"),
                           state.tensors.at("classifier.bias")));
}

TEST_F(Delta, OfTheBaseItselfIsEmpty) {
  write(tiny::state(), base());
  EXPECT_EQ(tensors_in(folder() / "delta.safetensors"), 0);
  EXPECT_EQ(checkpoint::load_model(folder()).tensors.size(), tiny::state().tensors.size());
}

TEST_F(Delta, FollowsItsBaseWhenBothMove) {
  write(tuned(), base());
  fs::create_directories(root_ / "elsewhere");
  fs::rename(base(), root_ / "elsewhere" / "base");
  fs::rename(folder(), root_ / "elsewhere" / "delta");
  EXPECT_EQ(checkpoint::load_model(root_ / "elsewhere" / "delta").tensors.size(),
            tuned().tensors.size());
}

TEST_F(Delta, RefusesAnotherBase) {
  write(tuned(), base());
  nn::ModelState other = tiny::state();
  const std::string changed = "encoder.layer.0.output.dense.weight";
  other.tensors[changed] = other.tensors[changed].clone();
  other.tensors[changed][0][0] += 1e-6;
  checkpoint::save_model(*nn::build(other, 1), base());
  std::string said = tiny::error_of(ErrorKind::model, [&] { checkpoint::load_model(folder()); });
  EXPECT_NE(said.find("is not the model that this delta was made on"), std::string::npos) << said;
  // What the delta has itself may differ.
  other = tiny::state();
  other.tensors["classifier.bias"] = other.tensors["classifier.bias"] - 3;
  checkpoint::save_model(*nn::build(other, 1), base());
  EXPECT_TRUE(torch::equal(checkpoint::load_model(folder()).tensors.at("classifier.bias"),
                           tuned().tensors.at("classifier.bias")));
  fs::remove_all(base());
  said = tiny::error_of(ErrorKind::model, [&] { checkpoint::load_model(folder()); });
  EXPECT_NE(said.find("the base of this delta is not there"), std::string::npos) << said;
}

TEST_F(Delta, RefusesWhatCannotBeABase) {
  write(tuned(), base());
  exports::LoadedModel model = loaded(tuned());
  auto refused = [&](const fs::path& on) {
    return tiny::error_of(ErrorKind::recipe, [&] {
      exports::write("delta", model, base(), root_ / "other", nullptr, nullptr, 1e-4, on);
    });
  };
  EXPECT_NE(refused(folder()).find("is a delta itself"), std::string::npos);
  EXPECT_NE(refused({}).find("needs a base"), std::string::npos);
  EXPECT_FALSE(fs::exists(root_ / "other"));
}

TEST_F(Delta, OfAFileIsCheckedBeforeItIsBelieved) {
  write(tuned(), base());
  for (const char* text : {"{}", "[1]", R"({"version": "1", "base": "x", "base_sha256": "y"})",
                           R"({"version": "9", "base": ["../base"], "base_sha256": "y"})",
                           R"({"version": "1", "base": [3], "base_sha256": "y"})",
                           R"({"version": "1", "base": ["../base"], "base_sha256": "y"})"}) {
    write_file(folder() / "delta.json", text);
    EXPECT_THROW(checkpoint::load_model(folder()), Error) << text;
  }
}

}  // namespace
}  // namespace compress
