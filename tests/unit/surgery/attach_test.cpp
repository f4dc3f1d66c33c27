#include <gmock/gmock.h>

#include "compress/nn/attachment.h"
#include "unit/nn/support.h"
#include "workshop.h"

namespace compress::surgery {
namespace {

using testing::HasSubstr;

nn::ModelState bert() {
  return nn::tiny_bert(nn::HeadKind::classification);
}

TEST(Attach, ListsWhatItAttachesInTheModel) {
  nn::ModelState state = bert();
  edit("adapter: {size: 5, after: feed_forward}", state);
  edit("lora: {rank: 3, alpha: 6, dropout: 0.1, targets: [attention], name: task}", state);
  edit("prefix: {length: 4, hidden: 6, of: [encoder]}", state);
  edit("phm_adapter: {n: 2, reduction: 4}", state);
  EXPECT_EQ(nn::attachments_json(state.config.attachments), nn::Json::parse(R"([
      {"kind": "adapter", "name": "adapter", "size": 5, "after": ["feed_forward"],
       "activation": "gelu"},
      {"kind": "lora", "name": "task", "rank": 3, "alpha": 6.0, "dropout": 0.1,
       "targets": ["attention"]},
      {"kind": "prefix", "name": "prefix", "length": 4, "hidden": 6, "of": ["encoder"]},
      {"kind": "phm_adapter", "name": "phm_adapter", "n": 2, "reduction": 4, "rank": 1,
       "after": ["attention", "feed_forward"], "activation": "gelu_new"}])"));
  EXPECT_EQ(state.history.size(), 4u);
  auto model = nn::build(state, 1);
  EXPECT_NE(
      model->params().find("attachments.task.encoder.layer.1.attention.output.dense.down.weight"),
      nullptr);
}

TEST(Attach, MergesLowRankAdditions) {
  nn::ModelState state = bert();
  edit("lora: {rank: 2}", state);
  state = nn::build(state, 1)->state();
  edit("merge: {}", state);
  EXPECT_TRUE(state.config.attachments.empty());
  EXPECT_EQ(state.tensors.size(), nn::build(bert(), 1)->state().tensors.size());
  EXPECT_EQ(state.history.back(), "merge: lora");
}

TEST(Attach, RefusesAtItsPlace) {
  nn::ModelState state = bert();
  edit("adapter: {}", state);
  for (const auto& [text, fragment] :
       {std::pair{"merge: {}", "cannot be merged"},
        {"merge: other", "no attachment 'other'"},
        {"adapter: {}", "two attachments"},
        {"lora: {targets: [keyy]}", "matches no matrix"},
        {"drop_layers: {strategy: top, keep: 1}", "does not fit its layers"},
        {"resize: {layers: 1}", "does not fit its layers"}}) {
    nn::ModelState copy = state;
    const Error error = failure([&, text = text] { edit(text, copy); });
    EXPECT_EQ(error.kind(), ErrorKind::recipe) << text;
    EXPECT_THAT(error.message(), HasSubstr(fragment)) << text;
    EXPECT_FALSE(error.where().empty()) << text;
  }
  nn::ModelState plain = bert();
  EXPECT_THAT(failure([&] { edit("merge: {}", plain); }).message(), HasSubstr("nothing attached"));
}

}  // namespace
}  // namespace compress::surgery
