// The three ways of writing, with models whose outputs are scripted.

#include "compress/generate/generate.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "script.h"

namespace compress::generate {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// 0 ends. 1 -> 2 -> 3 -> 0, each the likeliest.
Speech steps() {
  return chain({{1, 0, 0, 0}, {0.1, 0.1, 0.7, 0.1}, {0.2, 0.1, 0.1, 0.6}, {0.8, 0.1, 0.05, 0.05}});
}

Options ends_with_0(int64_t most) {
  Options options;
  options.max_new_tokens = most;
  options.eos = {0};
  return options;
}

std::string message_of(const std::function<void()>& work, ErrorKind kind) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.message();
  }
  ADD_FAILURE() << "no error";
  return {};
}

}  // namespace

TEST(Greedy, EndsWithAnEndOrAtTheLimit) {
  Script model(4, false, steps());
  std::vector<Sequence> found = generate(model, {{3, 1}, {3}, {2}}, ends_with_0(10));
  EXPECT_THAT(ids(found), ElementsAre(Tokens{2, 3, 0}, Tokens{0}, Tokens{3, 0}));
  EXPECT_NEAR(found[0].score, std::log(0.7 * 0.6 * 0.8), 1e-5);
  EXPECT_THAT(model.rows_read, ElementsAre(3, 2, 1));  // rows that ended are not read
  found = generate(model, {{3, 1}}, ends_with_0(2));
  EXPECT_THAT(ids(found), ElementsAre(Tokens{2, 3}));
}

TEST(Greedy, SeveralEndsAndStops) {
  Script model(4, false, steps());
  Options options = ends_with_0(10);
  options.eos = {0, 3};
  EXPECT_THAT(ids(generate(model, {{1}}, options)), ElementsAre(Tokens{2, 3}));
  options.eos = {};
  options.stop = [](std::span<const int64_t> fresh) { return fresh.back() == 2; };
  EXPECT_THAT(ids(generate(model, {{1}}, options)), ElementsAre(Tokens{2}));
}

TEST(Greedy, LeastLengthAndBannedBigrams) {
  Script model(4, false, steps());
  Options options = ends_with_0(6);
  options.min_new_tokens = 5;
  // 3 goes on with 1 until an end is allowed.
  EXPECT_THAT(ids(generate(model, {{1}}, options)), ElementsAre(Tokens{2, 3, 1, 2, 3, 0}));
  options.no_repeat_ngram = 2;
  // 1 2 came, so 1 1; then 1 2 and 1 1 came, so 1 3.
  EXPECT_THAT(ids(generate(model, {{1}}, options)), ElementsAre(Tokens{2, 3, 1, 1, 3, 0}));
}

TEST(Greedy, RowsDoNotDependOnEachOther) {
  Script model(12, false, noise(12));
  Options options = ends_with_0(15);
  options.repetition_penalty = 1.3;
  options.no_repeat_ngram = 3;
  const std::vector<Tokens> prompts = {{5, 6, 7, 8, 9}, {1}, {2, 2}, {11, 3, 4}};
  const std::vector<Sequence> together = generate(model, prompts, options);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const std::vector<Sequence> alone = generate(model, {prompts[i]}, options);
    EXPECT_EQ(alone[0].ids, together[i].ids);
    EXPECT_NEAR(alone[0].score, together[i].score, 1e-5);
  }
}

TEST(Greedy, AnEncoderDecoderBeginsWithItsStart) {
  // Repeats the source from its end.
  Script model(9, true, [](const Tokens& source, const Tokens& read) {
    std::vector<float> logits(9, 0.F);
    EXPECT_EQ(read[0], 8);
    const size_t at = read.size() - 1;
    logits[at < source.size() ? static_cast<size_t>(source[source.size() - 1 - at]) : 0] = 5;
    return logits;
  });
  Options options = ends_with_0(10);
  options.decoder_start = 8;
  const std::vector<Tokens> prompts = {{1, 2, 3}, {4}};
  EXPECT_THAT(ids(generate(model, prompts, options)),
              ElementsAre(Tokens{3, 2, 1, 0}, Tokens{4, 0}));
  // What may not be repeated is counted in what is written, from the start token on.
  options.no_repeat_ngram = 1;
  EXPECT_THAT(ids(generate(model, {{8, 4}}, options)), ElementsAre(Tokens{4, 0}));
  options = ends_with_0(10);
  options.decoder_start = 8;
  options.forced_bos = 7;
  EXPECT_THAT(ids(generate(model, prompts, options)),
              ElementsAre(Tokens{7, 2, 1, 0}, Tokens{7, 0}));
  options.num_beams = 3;
  EXPECT_THAT(ids(generate(model, prompts, options)),
              ElementsAre(Tokens{7, 2, 1, 0}, Tokens{7, 0}));
}

TEST(Sampling, IsAFunctionOfSeedRowAndSequence) {
  Script model(12, false, noise(12));
  Options options = ends_with_0(12);
  options.sample = true;
  options.sequences = 3;
  options.seed = 9;
  options.first_row = 100;
  const std::vector<Tokens> prompts = {{5, 6, 7}, {1}, {1}, {2, 2}};
  const std::vector<Sequence> together = generate(model, prompts, options);
  ASSERT_EQ(together.size(), 12U);
  EXPECT_NE(together[3].ids, together[4].ids);
  EXPECT_NE(together[3].ids, together[6].ids);  // the same prompt in another row
  for (size_t i = 0; i < prompts.size(); ++i) {
    options.first_row = 100 + static_cast<int64_t>(i);
    const std::vector<Sequence> alone = generate(model, {prompts[i]}, options);
    for (size_t s = 0; s < 3; ++s) EXPECT_EQ(alone[s].ids, together[3 * i + s].ids);
  }
  options.sequences = 1;
  options.first_row = 101;
  EXPECT_EQ(generate(model, {prompts[1]}, options)[0].ids, together[3].ids);
  options.seed = 10;
  EXPECT_NE(generate(model, {prompts[1]}, options)[0].ids, together[3].ids);
}

// 6,000 samples of two tokens each: chi-square with 8 degrees of freedom exceeds 26.1 once in a
// thousand times.
TEST(Sampling, FollowsTheModel) {
  const std::vector<std::vector<double>> table = {
      {1, 0, 0, 0}, {0, 0.2, 0.5, 0.3}, {0, 0.6, 0.1, 0.3}, {0, 0.3, 0.3, 0.4}};
  Script model(4, false, chain(table));
  Options options;
  options.sample = true;
  options.max_new_tokens = 2;
  options.sequences = 6000;
  std::map<Tokens, double> counts;
  for (const Sequence& one : generate(model, {{1}}, options)) ++counts[one.ids];
  double chi_square = 0;
  for (size_t a = 1; a < 4; ++a)
    for (size_t b = 1; b < 4; ++b) {
      const double due = 6000 * table[1][a] * table[a][b];
      const double off = counts[{static_cast<int64_t>(a), static_cast<int64_t>(b)}] - due;
      chi_square += off * off / due;
    }
  EXPECT_EQ(counts.size(), 9U);
  EXPECT_LT(chi_square, 26.1);
}

TEST(Beams, FindWhatGreedyMisses) {
  // 1 is the likelier first token, 2 leads to the likelier pair.
  Script model(
      4, false,
      chain({{1, 0, 0, 0}, {0.34, 0.33, 0.33, 0}, {0.9, 0.05, 0.05, 0}, {0, 0.6, 0.4, 0}}));
  Options options = ends_with_0(2);
  EXPECT_THAT(ids(generate(model, {{3}}, options)), ElementsAre(Tokens{1, 0}));
  options.num_beams = 2;
  options.sequences = 2;
  const std::vector<Sequence> found = generate(model, {{3}}, options);
  EXPECT_THAT(ids(found), ElementsAre(Tokens{2, 0}, Tokens{1, 0}));
  EXPECT_NEAR(found[0].score, std::log(0.4 * 0.9) / 2, 1e-6);
  EXPECT_NEAR(found[1].score, std::log(0.6 * 0.34) / 2, 1e-6);
}

TEST(Beams, ThePenaltyOfLengthDecides) {
  // 0 at once with 0.4, or 1 0 with 0.6 * 0.6, or 1 1 0 ...
  Script model(3, false, chain({{1, 0, 0}, {0.6, 0.4, 0}, {0.4, 0.6, 0}}));
  Options options = ends_with_0(8);
  options.num_beams = 2;
  options.early_stopping = EarlyStopping::never;
  options.length_penalty = 0;
  EXPECT_THAT(ids(generate(model, {{2}}, options)), ElementsAre(Tokens{0}));
  options.length_penalty = 1;
  EXPECT_THAT(ids(generate(model, {{2}}, options)), ElementsAre(Tokens{1, 0}));
}

// How many steps a search of two beams from 3 takes, and the score of what it finds.
std::pair<size_t, double> searched(std::vector<double> from_2, std::vector<double> from_3,
                                   EarlyStopping how) {
  Script model(4, false, chain({{1, 0, 0, 0}, {0.02, 0.98, 0, 0}, from_2, from_3}));
  Options options = ends_with_0(20);
  options.num_beams = 2;
  options.forced_eos = {0};
  options.early_stopping = how;
  const double score = generate(model, {{3}}, options)[0].score;
  return {model.rows_read.size(), score};
}

// Two sequences are finished after two steps. A third, 1 1 1 ..., is then better than they are, and
// in the end much better: only `yes` does not wait.
TEST(Beams, StopEarlyWhenToldTo) {
  const std::vector<double> from_2 = {0.9, 0.1, 0, 0}, from_3 = {0.4, 0.35, 0.25, 0};
  const auto yes = searched(from_2, from_3, EarlyStopping::yes);
  EXPECT_EQ(yes.first, 2U);
  EXPECT_NEAR(yes.second, std::log(0.25 * 0.9) / 2, 1e-5);
  const double late = (std::log(0.35) + 18 * std::log(0.98)) / 20;  // the forced end is free
  for (EarlyStopping how : {EarlyStopping::no, EarlyStopping::never}) {
    const auto found = searched(from_2, from_3, how);
    EXPECT_EQ(found.first, 20U);
    EXPECT_NEAR(found.second, late, 1e-5);
  }
}

// Here it is worse at first: only `never` waits.
TEST(Beams, StopWhereWaitingLooksUseless) {
  const std::vector<double> from_2 = {1, 0, 0, 0}, from_3 = {0.45, 0.1, 0.45, 0};
  for (EarlyStopping how : {EarlyStopping::yes, EarlyStopping::no}) {
    const auto found = searched(from_2, from_3, how);
    EXPECT_EQ(found.first, 2U);
    EXPECT_NEAR(found.second, std::log(0.45) / 2, 1e-5);
  }
  const auto never = searched(from_2, from_3, EarlyStopping::never);
  EXPECT_EQ(never.first, 20U);
  EXPECT_NEAR(never.second, (std::log(0.1) + 18 * std::log(0.98)) / 20, 1e-5);
}

// With as many beams as there are sequences nothing is missed.
TEST(Beams, ManyAreExhaustive) {
  constexpr int64_t vocabulary = 4, length = 3;
  const Speech speech = noise(vocabulary, 4);
  Script model(vocabulary, false, speech);
  Options options;
  options.max_new_tokens = length;
  options.num_beams = 64;
  const Tokens prompt = {1, 2};
  std::vector<std::pair<double, Tokens>> all;
  for (int64_t code = 0; code < 64; ++code) {
    Tokens read = prompt;
    double score = 0;
    for (int64_t rest = code, i = 0; i < length; ++i, rest /= vocabulary) {
      const std::vector<float> logits = speech({}, read);
      double total = 0;
      for (float logit : logits) total += std::exp(static_cast<double>(logit));
      score += logits[static_cast<size_t>(rest % vocabulary)] - std::log(total);
      read.push_back(rest % vocabulary);
    }
    all.emplace_back(score / length, Tokens(read.begin() + 2, read.end()));
  }
  std::sort(all.rbegin(), all.rend());
  options.sequences = 5;
  const std::vector<Sequence> found = generate(model, {prompt}, options);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(found[i].ids, all[i].second);
    EXPECT_NEAR(found[i].score, all[i].first, 1e-5);
  }
}

TEST(Beams, RowsDoNotDependOnEachOther) {
  Script model(12, false, noise(12));
  Options options = ends_with_0(15);
  options.num_beams = options.sequences = 3;
  options.length_penalty = 0.7;
  const std::vector<Tokens> prompts = {{5, 6, 7, 8, 9}, {1}, {2, 2}, {11, 3, 4}};
  for (EarlyStopping how : {EarlyStopping::no, EarlyStopping::yes, EarlyStopping::never}) {
    options.early_stopping = how;
    const std::vector<Sequence> together = generate(model, prompts, options);
    ASSERT_EQ(together.size(), 12U);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::vector<Sequence> alone = generate(model, {prompts[i]}, options);
      for (size_t s = 0; s < 3; ++s) {
        EXPECT_EQ(alone[s].ids, together[3 * i + s].ids);
        EXPECT_FLOAT_EQ(static_cast<float>(alone[s].score),
                        static_cast<float>(together[3 * i + s].score));
        EXPECT_GE(alone[0].score, alone[s].score);
      }
    }
  }
}

TEST(Generate, RefusesWhatMakesNoSense) {
  Script model(4, false, steps());
  auto refuses = [&](const std::function<void(Options&)>& change, const char* what) {
    Options options;
    change(options);
    EXPECT_THAT(message_of([&] { generate(model, {{1}}, options); }, ErrorKind::recipe),
                HasSubstr(what));
  };
  refuses([](Options& o) { o.max_new_tokens = 0; }, "max_new_tokens");
  refuses([](Options& o) { o.min_new_tokens = 21; }, "min_new_tokens");
  refuses([](Options& o) { o.num_beams = 0; }, "num_beams");
  refuses([](Options& o) { o.length_penalty = NAN; }, "length_penalty");
  refuses([](Options& o) { o.no_repeat_ngram = -1; }, "no_repeat_ngram");
  refuses([](Options& o) { o.repetition_penalty = 0; }, "repetition_penalty");
  refuses([](Options& o) { o.temperature = 0; }, "temperature");
  refuses([](Options& o) { o.top_k = -1; }, "top_k");
  refuses([](Options& o) { o.top_p = 1.1; }, "top_p");
  refuses([](Options& o) { o.sequences = 2; }, "num_return_sequences");
  refuses(
      [](Options& o) {
        o.num_beams = 2;
        o.sequences = 3;
      },
      "num_return_sequences");
  refuses(
      [](Options& o) {
        o.num_beams = 2;
        o.sample = true;
      },
      "sampling and beams");
}

TEST(Generate, RefusesPromptsThatDoNotFit) {
  Script model(4, false, steps());
  Options options;
  options.max_new_tokens = 20;
  auto refuses = [&](const Tokens& prompt, const char* what) {
    EXPECT_THAT(message_of(
                    [&] {
                      generate(model, {{1}, prompt}, options);
                    },
                    ErrorKind::data),
                HasSubstr(what));
  };
  refuses({}, "prompt 2 has no tokens");
  refuses({1, 4}, "vocabulary");
  refuses(Tokens(65, 1), "the model takes 64");
  refuses(Tokens(46, 1), "do not suffice");
  EXPECT_EQ(generate(model, {Tokens(45, 1)}, options).size(), 1U);  // the last token is not read
  model.config().head = nn::HeadKind::classification;
  EXPECT_THAT(message_of([&] { generate(model, {{1}}, options); }, ErrorKind::model),
              HasSubstr("writes no text"));
}

TEST(Generate, OutputsThatAreNoNumbersAreTold) {
  Script model(3, false, [](const Tokens&, const Tokens&) {
    return std::vector<float>{0, NAN, 1};
  });
  Options options;
  EXPECT_THAT(message_of([&] { generate(model, {{1}}, options); }, ErrorKind::diverged),
              HasSubstr("not numbers"));
  options.num_beams = 2;
  message_of([&] { generate(model, {{1}}, options); }, ErrorKind::diverged);
}

TEST(Generate, OptionsThatRuleAllTokensOutAreTold) {
  Script model(3, false, [](const Tokens&, const Tokens&) { return std::vector<float>{0, 2, 1}; });
  Options options;
  options.suppressed = {0, 1, 2};
  for (int64_t beams : {1, 2}) {
    options.num_beams = beams;
    EXPECT_THAT(message_of([&] { generate(model, {{1}}, options); }, ErrorKind::recipe),
                HasSubstr("rule all of them out"));
  }
  options.num_beams = 1;
  options.sample = true;
  message_of([&] { generate(model, {{1}}, options); }, ErrorKind::recipe);
}

TEST(Limits, CountInTwoWays) {
  nn::ModelConfig decoder;
  decoder.max_positions = 64;
  Options options;
  auto of = [&](const nn::ModelConfig& config, int64_t prompt) {
    const Limits found = limits(options, config, prompt);
    return std::pair(found.least, found.most);
  };
  using Pair = std::pair<int64_t, int64_t>;
  EXPECT_EQ(of(decoder, 5), Pair(0, 20));
  EXPECT_EQ(of(decoder, 50), Pair(0, 14));  // the default ends with the positions
  options.max_length = 12;
  options.min_length = 9;
  EXPECT_EQ(of(decoder, 5), Pair(4, 7));
  EXPECT_EQ(of(decoder, 10), Pair(0, 2));
  EXPECT_EQ(of(decoder, 12).second, 0);
  nn::ModelConfig both = decoder;
  both.decoder_layers = 1;
  EXPECT_EQ(of(both, 50), Pair(8, 11));  // beside the start token
  options.max_new_tokens = 4;
  EXPECT_EQ(of(decoder, 5), Pair(4, 4));
  EXPECT_EQ(of(decoder, 1), Pair(4, 4));  // the least gives way
  EXPECT_EQ(limits(options, decoder, 1).cut,
            "min_length 9 is more than the 4 new tokens that are written at most");
  options.min_new_tokens = 2;
  EXPECT_EQ(of(decoder, 1), Pair(2, 4));
  EXPECT_EQ(limits(options, decoder, 1).cut, "");
}

TEST(Limits, MayEndWithThePositions) {
  nn::ModelConfig config;
  config.max_positions = 64;
  Options options;
  options.max_length = 1000;
  EXPECT_EQ(limits(options, config, 60).most, 940);
  options.fit_positions = true;
  EXPECT_EQ(limits(options, config, 60).most, 5);  // the last token is not read
  EXPECT_EQ(limits(options, config, 60).cut, "the model's 64 positions end before max_length 1000");
}

TEST(Limits, ALongTextGrowsItsPlaces) {
  Script model(4, false,
               chain({{1, 0, 0, 0}, {0, 0.1, 0.8, 0.1}, {0, 0.1, 0.1, 0.8}, {0, 0.8, 0.1, 0.1}}));
  model.config().max_positions = 1000;
  Options options;
  options.max_length = 500;
  Tokens due(500);
  for (size_t i = 0; i < due.size(); ++i) due[i] = static_cast<int64_t>(i % 3) + 1;
  for (int64_t beams : {1, 2}) {
    options.num_beams = beams;
    const std::vector<Sequence> found = generate(model, {{1}, {1, 2, 3}}, options);
    EXPECT_EQ(found[0].ids, Tokens(due.begin() + 1, due.end()));
    EXPECT_EQ(found[1].ids, Tokens(due.begin() + 3, due.end()));
  }
}

TEST(Generate, RowsEndAtTheirOwnMaxLength) {
  Script model(12, false, noise(12));
  Options options;
  options.max_length = 8;
  options.forced_eos = {0};
  options.eos = {0};
  options.min_length = 8;
  for (int64_t beams : {1, 3}) {
    options.num_beams = beams;
    const std::vector<Sequence> found = generate(model, {{5, 6, 7, 8, 9}, {1}, {2, 2}}, options);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(found[i].ids.size(), (std::vector<size_t>{3, 7, 6}[i]));
      EXPECT_EQ(found[i].ids.back(), 0);
    }
  }
  const Tokens eight(8, 1);
  EXPECT_THAT(message_of([&] { generate(model, {eight}, options); }, ErrorKind::data),
              HasSubstr("has 8 tokens, and max_length 8 counts them"));
}

class OptionsOfAFolder : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  FolderOptions read(const std::string& text, const nn::ModelConfig& config = {}) {
    std::ofstream(folder_ / "generation_config.json") << text;
    return folder_options(folder_, config);
  }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() /
      ("generate_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
};

TEST_F(OptionsOfAFolder, AreItsOwn) {
  nn::ModelConfig config;
  config.eos_token_ids = {7};
  const FolderOptions folder =
      read(R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [1, 2],
               "early_stopping": "never", "max_length": 4096, "top_k": null, "typical_p": 0.9,
               "bad_words_ids": [[3], [1], [4, 5]], "pad_token_id": -1, "min_p": 0.1,
               "suppress_tokens": [], "begin_suppress_tokens": [6], "stop_strings": "END",
               "renormalize_logits": true})",
           config);
  const Options options = resolve(folder);
  EXPECT_TRUE(options.sample);
  EXPECT_DOUBLE_EQ(options.temperature, 0.6);
  EXPECT_DOUBLE_EQ(options.top_p, 0.9);
  EXPECT_DOUBLE_EQ(options.min_p, 0.1);
  EXPECT_EQ(options.top_k, 50);
  EXPECT_EQ(options.eos, (Tokens{1, 2}));
  EXPECT_EQ(options.early_stopping, EarlyStopping::no);  // there are no beams
  EXPECT_EQ(options.max_length, 4096);
  EXPECT_EQ(options.max_new_tokens, std::nullopt);
  EXPECT_THAT(options.banned, ElementsAre(Tokens{3}, Tokens{4, 5}));  // 1 ends
  EXPECT_THAT(options.suppressed_first, ElementsAre(6));
  EXPECT_TRUE(options.renormalize);
  EXPECT_THAT(folder.stop, ElementsAre("END"));
  EXPECT_THAT(ignored_keys(folder), ElementsAre("typical_p"));
  EXPECT_EQ(read("{}", config).options.eos, Tokens{7});
  EXPECT_TRUE(read(R"({"eos_token_id": null})", config).options.eos.empty());
}

TEST_F(OptionsOfAFolder, LengthsOfAnEncoderDecoderCountItsStart) {
  nn::ModelConfig config;
  config.decoder_layers = 1;
  config.bos_token_id = 5;
  Options options = resolve(read(R"({"max_length": 142, "min_length": 56, "num_beams": 4,
                                     "forced_bos_token_id": 0, "forced_eos_token_id": 2})",
                                 config));
  EXPECT_EQ(limits(options, config, 30).most, 141);
  EXPECT_EQ(limits(options, config, 30).least, 55);
  EXPECT_EQ(options.decoder_start, 5);
  EXPECT_EQ(options.forced_bos, 0);
  EXPECT_EQ(options.forced_eos, Tokens{2});
  options = resolve(
      read(R"({"max_length": 142, "max_new_tokens": 30, "decoder_start_token_id": 2})", config));
  EXPECT_EQ(limits(options, config, 30).most, 30);
  EXPECT_EQ(options.decoder_start, 2);
  EXPECT_EQ(read(R"({"bos_token_id": 3})", config).options.decoder_start, 3);
}

TEST_F(OptionsOfAFolder, AreThoseOfConfigJsonWhereThereIsNoOtherFile) {
  nn::ModelConfig config;
  config.bos_token_id = 9;
  config.raw = {{"num_beams", 3},
                {"no_repeat_ngram_size", 2},
                {"eos_token_id", 4},
                {"max_length", 30},
                {"force_bos_token_to_be_generated", true}};
  const Options options = resolve(folder_options(folder_, config));
  EXPECT_EQ(options.num_beams, 3);
  EXPECT_EQ(options.no_repeat_ngram, 2);
  EXPECT_EQ(options.eos, Tokens{4});
  EXPECT_EQ(options.max_length, 30);
  EXPECT_EQ(options.forced_bos, 9);
}

TEST_F(OptionsOfAFolder, WrongValuesAreTheModels) {
  for (const char* text :
       {R"({"temperature": "warm", "do_sample": true})", R"({"eos_token_id": "x"})", "[]", "{bad",
        R"({"early_stopping": 3, "num_beams": 2})", R"({"top_p": 2, "do_sample": true})",
        R"({"num_beams": 1.5})", R"({"num_beams": 0})", R"({"max_length": 0})",
        R"({"max_new_tokens": 18446744073709551615})", R"({"bad_words_ids": [[]]})",
        R"({"bad_words_ids": [[-1]]})", R"({"repetition_penalty": 0})",
        R"({"do_sample": true, "num_beams": 4})", R"({"do_sample": true, "temperature": 0})",
        R"({"num_return_sequences": 2})", R"({"stop_strings": [""]})"})
    message_of([&] { resolve(read(text)); }, ErrorKind::model);
}

TEST_F(OptionsOfAFolder, AreNotJudgedWhereTheyAreNotUsed) {
  const FolderOptions folder =
      read(R"({"temperature": 0.0, "top_k": -1, "top_p": "all", "min_p": 7, "typical_p": 0.2,
               "length_penalty": "x", "early_stopping": 5, "max_length": -1, "max_new_tokens": 4,
               "num_beam_groups": 4, "diversity_penalty": 1.0, "epsilon_cutoff": 3e-4})");
  const Options options = resolve(folder);
  EXPECT_EQ(options.temperature, 1);
  EXPECT_EQ(options.top_k, 0);
  EXPECT_EQ(options.max_new_tokens, 4);
  EXPECT_THAT(ignored_keys(folder), ElementsAre());
}

TEST_F(OptionsOfAFolder, GiveWayToWhatIsSetBesides) {
  FolderOptions folder = read(R"({"do_sample": true, "temperature": 0, "min_new_tokens": 30})");
  EXPECT_THAT(message_of([&] { resolve(folder); }, ErrorKind::model), HasSubstr("temperature"));
  folder.options.temperature = 0.5;
  folder.stated.erase("temperature");
  EXPECT_EQ(resolve(folder).temperature, 0.5);
  folder.options.max_new_tokens = 8;  // the file's least number gives way
  EXPECT_EQ(limits(resolve(folder), {}, 3).least, 8);
  folder.options.max_new_tokens.reset();  // beside the usual 20 as well, whoever asks again
  EXPECT_EQ(limits(resolve(folder), {}, 3).least, 20);
  check(resolve(folder));
  // Who sets an option answers for it, used or not.
  folder.options.sample = false;
  folder.options.temperature = NAN;
  EXPECT_THAT(message_of([&] { resolve(folder); }, ErrorKind::recipe), HasSubstr("temperature"));
}

TEST_F(OptionsOfAFolder, NameWhatIsNotSupported) {
  EXPECT_THAT(ignored_keys(read(R"({"force_words_ids": [[3]], "watermarking_config": {},
                                    "token_healing": true, "guidance_scale": 1.0, "max_time": null,
                                    "penalty_alpha": 0.6, "top_h": 0.4, "sequence_bias": [],
                                    "encoder_no_repeat_ngram_size": 3, "num_beam_groups": 2})")),
              ElementsAre("penalty_alpha", "encoder_no_repeat_ngram_size", "force_words_ids",
                          "token_healing", "watermarking_config"));
}

}  // namespace compress::generate
