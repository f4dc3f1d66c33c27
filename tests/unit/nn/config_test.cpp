// What a family makes of the keys of config.json.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compress/base/error.h"
#include "compress/nn/architecture.h"

namespace compress::nn {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Json bert(const Json& more = Json::object()) {
  Json json = {{"model_type", "bert"},
               {"architectures", {"BertForSequenceClassification"}},
               {"vocab_size", 40},
               {"hidden_size", 8},
               {"num_hidden_layers", 2},
               {"num_attention_heads", 2},
               {"intermediate_size", 16},
               {"max_position_embeddings", 12},
               {"id2label", {{"0", "toxic"}, {"1", "insult"}, {"2", "threat"}}}};
  json.update(more);
  return json;
}

Json llama(const char* type, const Json& more = Json::object()) {
  Json json = {
      {"model_type", type},           {"vocab_size", 40},         {"hidden_size", 8},
      {"num_hidden_layers", 2},       {"num_attention_heads", 2}, {"intermediate_size", 16},
      {"max_position_embeddings", 12}};
  json.update(more);
  return json;
}

Json t5(const Json& more = Json::object()) {
  Json json = {{"model_type", "t5"}, {"vocab_size", 40}, {"d_model", 8},  {"d_kv", 4},
               {"d_ff", 16},         {"num_layers", 2},  {"num_heads", 2}};
  json.update(more);
  return json;
}

Json bart(const Json& more = Json::object()) {
  Json json = {
      {"model_type", "bart"},         {"vocab_size", 40},      {"d_model", 8},
      {"encoder_layers", 2},          {"decoder_layers", 3},   {"encoder_attention_heads", 2},
      {"decoder_attention_heads", 2}, {"encoder_ffn_dim", 16}, {"decoder_ffn_dim", 16},
      {"max_position_embeddings", 12}};
  json.update(more);
  return json;
}

ModelConfig read(const Json& json) {
  return family(json.at("model_type")).read_config(json);
}

// What the Error says; "" when there is none.
std::string refusal(const Json& json) {
  try {
    read(json);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    return error.message() + " | " + error.hint();
  }
  return "";
}

std::vector<std::string> remarks(const Json& json) {
  return family(json.at("model_type")).remarks(json);
}

TEST(ProblemType, DecidesWhatAClassifierIs) {
  const std::vector<std::string> names = {"toxic", "insult", "threat"};
  const Json one = {{"0", "score"}};
  struct Row {
    Json said;
    HeadKind head;
  };
  for (const Row& row :
       {Row{Json::object(), HeadKind::classification},
        Row{{{"problem_type", nullptr}}, HeadKind::classification},
        Row{{{"problem_type", "single_label_classification"}}, HeadKind::classification},
        Row{{{"problem_type", "multi_label_classification"}}, HeadKind::multi_label},
        Row{{{"problem_type", "regression"}}, HeadKind::regression},
        Row{{{"id2label", one}}, HeadKind::regression},
        Row{{{"id2label", one}, {"problem_type", "multi_label_classification"}},
            HeadKind::multi_label}}) {
    const ModelConfig config = read(bert(row.said));
    EXPECT_EQ(head_name(config.head), std::string(head_name(row.head))) << row.said;
    EXPECT_EQ(config.labels,
              row.said.contains("id2label") ? std::vector<std::string>{"score"} : names);
  }
  EXPECT_THAT(refusal(bert({{"problem_type", "ranking"}})), HasSubstr("problem_type \"ranking\""));
  EXPECT_THAT(refusal(bert({{"id2label", one}, {"problem_type", "single_label_classification"}})),
              HasSubstr("needs more than one label"));
}

TEST(ProblemType, IsWrittenAsItWasRead) {
  for (const char* problem :
       {"single_label_classification", "multi_label_classification", "regression"}) {
    const Json json = bert({{"problem_type", problem}});
    const Json written = family("bert").write_config(read(json));
    EXPECT_EQ(written.at("problem_type"), problem);
    EXPECT_EQ(written.at("id2label"), json.at("id2label"));
    EXPECT_EQ(written.at("architectures"), json.at("architectures"));
  }
}

TEST(ClassNames, AreWhatId2labelSays) {
  // Numbers are names, too.
  EXPECT_EQ(read(bert({{"id2label", Json::parse(R"({"0": 3, "1": -1, "2": "x"})")}})).labels,
            (std::vector<std::string>{"3", "-1", "x"}));
  const std::pair<const char*, const char*> refused[] = {
      {R"({"0": "a", "2": "b"})", R"(must map 0 to 1 to names: it has 2 of them, and the id "2")"},
      {R"({"0": "a", "00": "b"})", R"(the id "00")"},
      {R"({"0": "a", "x": "b"})", R"(the id "x")"},
      {R"({"0": "a", "1": null})", "id2label maps 1 to null"},
      {R"({"0": "a", "1": ["b"]})", R"(id2label maps 1 to ["b"])"},
      {R"({"0": "a", "1": "b", "2": "a"})", R"(id2label calls 0 and 2 both "a")"},
      {R"(["a", "b"])", "id2label must map numbers to names"}};
  for (const auto& [names, told] : refused)
    EXPECT_THAT(refusal(bert({{"id2label", Json::parse(names)}})), HasSubstr(told)) << names;
  const Json names = {{"0", "a"}, {"1", "b"}};
  const auto told = [&](const Json& ids) {
    return remarks(bert({{"id2label", names}, {"label2id", ids}}));
  };
  EXPECT_THAT(told({{"a", 0}, {"b", 1}}), IsEmpty());
  EXPECT_THAT(told({{"a", "0"}, {"b", "1"}}), IsEmpty());
  for (const char* ids : {R"({"a": 1, "b": 0})", R"({"a": 0})", R"({"a": 0, "c": 1})", "[]"})
    EXPECT_THAT(told(Json::parse(ids)), testing::ElementsAre(HasSubstr("label2id does not count")))
        << ids;
}

TEST(ConfigKeys, OfHeadsThatWerePrunedAreRefused) {
  EXPECT_THAT(refusal(bert({{"pruned_heads", {{"0", {1}}}}})),
              HasSubstr("pruned_heads {\"0\":[1]} is not supported"));
  for (const Json& nothing : {Json::object(), Json(nullptr), Json{{"0", Json::array()}}})
    EXPECT_EQ(refusal(bert({{"pruned_heads", nothing}})), "") << nothing;
  EXPECT_THAT(refusal(llama("qwen3", {{"pruned_heads", {{"0", {1}}}}})), HasSubstr("pruned_heads"));
}

TEST(ConfigKeys, ThatAreNotComputedAreRefusedByTheirName) {
  EXPECT_THAT(refusal(bert({{"hidden_act", "mish"}})), HasSubstr("hidden_act 'mish'"));
  EXPECT_THAT(refusal(bert({{"type_vocab_size", 0}})), HasSubstr("type_vocab_size"));
  EXPECT_THAT(refusal(bert({{"hidden_dropout_prob", 1.5}})), HasSubstr("hidden_dropout_prob"));
  EXPECT_THAT(refusal(bert({{"per_layer_config", {{"0", {{"hidden_size", 4}}}}}})),
              HasSubstr("per_layer_config"));
  EXPECT_THAT(refusal(llama("qwen3", {{"layer_types", {"full_attention", "sliding_attention"}}})),
              HasSubstr("layer_types with \"sliding_attention\""));
  EXPECT_THAT(refusal(llama("llama", {{"partial_rotary_factor", 0.5}})),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refusal(llama("llama", {{"rope_parameters", {{"partial_rotary_factor", 0.5}}}})),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refusal(llama("llama", {{"rope_scaling", {{"type", "linear"}}}})),
              HasSubstr("rope_type \"linear\" needs a number 'factor'"));
  EXPECT_THAT(refusal(llama("llama", {{"rope_scaling", {{"type", "linear"}, {"factor", 0}}}})),
              HasSubstr("factor is 0, not above 0"));
  EXPECT_THAT(refusal(llama("llama", {{"rope_theta", -1.0}})), HasSubstr("rope_theta is -1"));
  EXPECT_THAT(
      refusal(llama("llama", {{"rope_parameters",
                               {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}}}})),
      HasSubstr("needs a number 'high_freq_factor'"));
  EXPECT_THAT(refusal(llama("qwen3", {{"rope_parameters", {{"full_attention", {{"factor", 2}}}}}})),
              HasSubstr("of their own for full_attention"));
  EXPECT_THAT(refusal(llama("mistral", {{"sliding_window", 2},
                                        {"layer_types", {"full_attention", "sliding_attention"}}})),
              HasSubstr("layer_types with"));
  EXPECT_THAT(refusal(bert({{"is_causal", true}})), HasSubstr("is_causal is not supported"));
  EXPECT_EQ(refusal(bert({{"is_causal", false}})), "");
  // Decoders whose tokens see those behind them, as embedding models are made of.
  for (const Json& json : {llama("qwen2", {{"is_causal", false}}), t5({{"is_causal", false}}),
                           bart({{"is_causal", false}})})
    EXPECT_THAT(refusal(json), HasSubstr("is_causal false is not supported"));
  EXPECT_THAT(refusal(t5({{"dense_act_fn", "silu"}})), HasSubstr("dense_act_fn \"silu\""));
  EXPECT_THAT(refusal(t5({{"feed_forward_proj", "gated-mish"}})),
              HasSubstr("feed_forward_proj 'mish'"));
  EXPECT_THAT(refusal(bart({{"normalize_before", true}})), HasSubstr("normalize_before"));
  EXPECT_THAT(refusal(bart({{"extra_pos_embeddings", 0}})), HasSubstr("extra_pos_embeddings"));
  EXPECT_THAT(refusal(bart({{"decoder_start_token_id", 40}})),
              HasSubstr("decoder_start_token_id 40"));
}

TEST(ConfigKeys, TheBaseOfRotaryPositionsInItsBlockGoesFirst) {
  for (const char* block : {"rope_parameters", "rope_scaling"}) {
    const Json json = llama("llama", {{"rope_theta", 100.0},
                                      {block, {{"rope_type", "default"}, {"rope_theta", 500.0}}}});
    EXPECT_EQ(read(json).rope_theta, 500.0) << block;
  }
}

// As transformers does: rope_scaling before rope_parameters, the model's own length where the block
// of Llama 3 names none, full attention in every layer before a window.
TEST(ConfigKeys, ThatSayTheSameThingTwice) {
  const Json both =
      llama("llama", {{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5.0}}},
                      {"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}});
  EXPECT_EQ(read(both).rope_scaling["factor"], 4.0);
  EXPECT_EQ(read(both).rope_theta, 10000.0);
  Json block = {
      {"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}};
  const auto length = [&] {
    return read(llama("llama", {{"max_position_embeddings", 64}, {"rope_parameters", block}}))
        .rope_scaling["original_max_position_embeddings"];
  };
  EXPECT_EQ(length(), 64);
  block["original_max_position_embeddings"] = 32;
  EXPECT_EQ(length(), 32);
  EXPECT_EQ(read(llama("mistral", {{"sliding_window", 2}})).window, 2);
  EXPECT_EQ(read(llama("mistral", {{"sliding_window", 2},
                                   {"layer_types", {"full_attention", "full_attention"}}}))
                .window,
            0);
}

TEST(ConfigKeys, OfOtherValuesOrNoneDoNotDisturb) {
  EXPECT_EQ(refusal(llama("qwen3", {{"layer_types", {"full_attention", "full_attention"}},
                                    {"use_sliding_window", nullptr},
                                    {"partial_rotary_factor", 1.0}})),
            "");
  EXPECT_EQ(refusal(bert({{"is_decoder", nullptr}, {"add_cross_attention", false}})), "");
  EXPECT_EQ(refusal(bert({{"is_causal", false}})), "");
  EXPECT_EQ(refusal(t5({{"feed_forward_proj", "gated-gelu"},
                        {"dense_act_fn", "gelu_new"},
                        {"is_gated_act", true}})),
            "");
}

// transformers gives Mistral and Qwen2 no such switch.
TEST(ConfigKeys, OfBiasesCountWhereTheFamilyHasThem) {
  EXPECT_TRUE(architecture(read(llama("llama", {{"attention_bias", true}}))).output_bias);
  EXPECT_TRUE(architecture(read(llama("qwen3", {{"attention_bias", true}}))).output_bias);
  EXPECT_FALSE(architecture(read(llama("mistral", {{"attention_bias", true}}))).output_bias);
  EXPECT_FALSE(architecture(read(llama("qwen2", {{"attention_bias", true}}))).output_bias);
  EXPECT_TRUE(architecture(read(llama("qwen2"))).query_bias);
}

TEST(ConfigAliases, AreReadCheckedAndWritten) {
  Json json = bart({{"num_hidden_layers", 2}});
  ModelConfig config = read(json);
  config.layers = 1;
  EXPECT_EQ(family("bart").write_config(config).at("num_hidden_layers"), 1);
  EXPECT_EQ(family("bart").write_config(config).at("encoder_layers"), 1);
  json.erase("encoder_layers");
  EXPECT_EQ(read(json).layers, 2);
  EXPECT_FALSE(family("bart").write_config(read(bart())).contains("num_hidden_layers"));
  EXPECT_THAT(refusal(bart({{"num_hidden_layers", 6}})),
              HasSubstr("num_hidden_layers 6 and encoder_layers 2"));
}

TEST(Remarks, NameWhatIsNotRead) {
  EXPECT_THAT(remarks(bert()), IsEmpty());
  EXPECT_THAT(
      remarks(bert({{"use_cache", true}, {"pruned_heads", Json::object()}, {"x", nullptr}})),
      IsEmpty());
  const std::vector<std::string> unread =
      remarks(bert({{"cell", Json::object()}, {"rope_interleaved", true}}));
  ASSERT_EQ(unread.size(), 1u);
  EXPECT_EQ(unread.front(), "keys that are not read, and kept as they are: cell, rope_interleaved");
  EXPECT_THAT(remarks(bert({{"rope_interleaved", false}})), IsEmpty());
  EXPECT_THAT(remarks(bert({{"architectures", {"BertForNextSentencePrediction"}}})),
              testing::ElementsAre(HasSubstr("BertForNextSentencePrediction")));
  EXPECT_THAT(remarks(bert({{"num_labels", 5}})), testing::ElementsAre(HasSubstr("num_labels 5")));
}

}  // namespace
}  // namespace compress::nn
