#include "compress/teacher/answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <limits>
#include <thread>

#include "compress/base/error.h"
#include "compress/base/files.h"
#include "compress/checkpoint/checkpoint.h"
#include "compress/data/loader.h"
#include "support/failure.h"
#include "unit/nn/support.h"

namespace compress::teacher {
namespace {

namespace fs = std::filesystem;
using nn::HeadKind;
using testing::ElementsAre;
using testing::HasSubstr;
using torch::Tensor;

constexpr int64_t rows = 150, layers = 2, width = 32, vocabulary = 50;

data::Split make_split(int64_t count = rows, int64_t longest = 12) {
  data::Split split;
  Random random(5);
  split.name = "train";
  split.labels = {"no", "yes"};
  split.offsets = {0};
  for (int64_t row = 0; row < count; ++row) {
    const auto length = 2 + static_cast<int64_t>(random.below(static_cast<uint64_t>(longest - 1)));
    for (int64_t t = 0; t < length; ++t)
      split.ids.push_back(static_cast<int32_t>(random.below(vocabulary)));
    split.offsets.push_back(static_cast<int64_t>(split.ids.size()));
    split.first_lengths.push_back(static_cast<int32_t>(length));
    split.classes.push_back(row % 2 == 0);
  }
  return split;
}

// Predicts every third token of a row, beginning with one that depends on the row.
data::Batch masked(const data::Split& split, std::span<const int64_t> list) {
  data::Batch batch = data::pack(split, list);
  batch.targets.token_labels = torch::full_like(batch.token_ids, -100);
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const int64_t begin = batch.row_offsets[row], end = batch.row_offsets[row + 1];
    for (int64_t t = begin + batch.example_ids[row] % 3; t < end; t += 3)
      batch.targets.token_labels[t] = batch.token_ids[t];
  }
  return batch;
}

class AnswersTest : public testing::Test {
 protected:
  AnswersTest() {
    fs::remove_all(folder_);
    questions_.split = &split_;
    questions_.classes = 2;
    questions_.width = width;
    questions_.layers = layers;
    questions_.vocabulary = vocabulary;
  }
  ~AnswersTest() override { fs::remove_all(folder_); }

  std::unique_ptr<Teacher> live(HeadKind head = HeadKind::classification) {
    std::unique_ptr<nn::Model> model = nn::build(nn::tiny_bert(head), 9);
    const nn::ModelConfig config = model->config();
    return frozen(std::move(model), config, true, nn::Precision::float32, {});
  }
  Questions asking(const Wanted& wanted) {
    Questions questions = questions_;
    questions.wanted = wanted;
    if (wanted.top_k > 0)
      questions.pack = [this](std::span<const int64_t> list) { return masked(split_, list); };
    return questions;
  }
  std::shared_ptr<const Answers> get(const Wanted& wanted, Teacher& teacher,
                                     Missing missing = Missing::compute) {
    return cached(
        folder_, key_, asking(wanted), missing,
        [&](const Questions& asked, Range range) {
          asked_.push_back(asked.wanted.text());
          return answer(teacher, asked, range);
        },
        [&](const std::string& line) { told_.push_back(line); });
  }
  fs::path file(const std::string& name) {
    return Cache(folder_, key_, questions_).entry() / (name + ".safetensors");
  }
  // The error of reading all rows.
  Error reading(const Wanted& wanted) {
    auto teacher = live(wanted.top_k > 0 ? HeadKind::masked_lm : HeadKind::classification);
    return failure([&] {
      std::shared_ptr<const Answers> answers = get(wanted, *teacher, Missing::refuse);
      std::vector<int64_t> all(rows);
      std::iota(all.begin(), all.end(), 0);
      const bool tokens = wanted.top_k > 0;
      answers->signals(tokens ? masked(split_, all) : data::pack(split_, all),
                       {.hidden = !wanted.hidden.empty(), .pooled = wanted.pooled});
    });
  }
  // Changes one tensor of a file of the entry, keeping its metadata.
  void change(const std::string& name, const std::string& tensor,
              const std::function<Tensor(const Tensor&)>& edit) {
    std::vector<storage::TensorInfo> infos;
    std::vector<Tensor> tensors;
    std::map<std::string, std::string> metadata;
    {
      storage::SafetensorsReader reader(file(name));
      metadata = reader.metadata();
      for (const storage::TensorView& view : reader.tensors()) {
        Tensor value = checkpoint::view(view).clone();
        if (view.name == tensor) value = edit(value).contiguous();
        infos.push_back(
            {view.name, checkpoint::stored_dtype(value.scalar_type()), value.sizes().vec()});
        tensors.push_back(value);
      }
    }
    storage::SafetensorsWriter writer(file(name), infos, metadata);
    for (size_t i = 0; i < infos.size(); ++i)
      writer.write(infos[i].name, {static_cast<const std::byte*>(tensors[i].const_data_ptr()),
                                   tensors[i].nbytes()});
    writer.commit();
  }

  data::Split split_ = make_split();
  fs::path folder_ = fs::path(testing::TempDir()) / str("teacher_answers_", ::getpid());
  nn::Json key_ = {{"teacher", "abc"}, {"data", "def"}, {"tokenizer", "ghi"}};
  Questions questions_;
  std::vector<std::string> asked_, told_;
};

const Wanted logits_only{.logits = true};
const Wanted states{.logits = true, .hidden = {0, 2}};
const Wanted tokens{.top_k = 4};

TEST_F(AnswersTest, RangesCoverTheSplitInBoundedParts) {
  const data::Split large = make_split(9000);
  const std::vector<Range> list = ranges(large);
  EXPECT_GT(list.size(), 2u);
  int64_t next = 0;
  for (Range range : list) {
    EXPECT_EQ(range.begin, next);
    EXPECT_LE(large.offsets[range.end] - large.offsets[range.begin], 16384);
    next = range.end;
  }
  EXPECT_EQ(next, large.rows());
  data::Split long_rows;
  long_rows.offsets = {0, 20000, 40000, 40003};
  EXPECT_EQ(ranges(long_rows).size(), 3u) << "a row is never split";
}

// The first batch that a teacher is asked for: the 64 longest rows.
std::vector<int64_t> first_batch(const data::Split& split) {
  return data::evaluation_batches(split, 64)[0];
}

TEST_F(AnswersTest, AreTheLiveTeachersAnswersToTheBatchThatItWasAsked) {
  auto teacher = live();
  auto taught = remembered(teacher->config(), get(states, *teacher));
  const data::Batch batch = data::pack(split_, first_batch(split_));
  const nn::Outputs want = teacher->signals(batch, {.hidden = true}),
                    found = taught->signals(batch, {.hidden = true});
  EXPECT_TRUE(torch::equal(found.logits, want.logits)) << "to the bit";
  ASSERT_EQ(found.hidden.size(), 3u);
  EXPECT_FALSE(found.hidden[1].defined()) << "nobody asked for this layer";
  for (size_t layer : {0u, 2u}) {
    EXPECT_EQ(found.hidden[layer].scalar_type(), torch::kFloat32);
    EXPECT_TRUE(
        torch::equal(found.hidden[layer], want.hidden[layer].to(torch::kHalf).to(torch::kFloat)));
  }
  EXPECT_EQ(failure([&] { taught->signals(batch, {.pooled = true}); }).kind(), ErrorKind::internal);
  EXPECT_TRUE(taught->device().is_cpu());
  EXPECT_EQ(taught->config().layers, layers);
}

// A row's last bits depend on the number of rows that a matrix product has.
TEST_F(AnswersTest, ServeAnyBatch) {
  auto teacher = live();
  std::shared_ptr<const Answers> answers = get(states, *teacher);
  for (const std::vector<int64_t>& list :
       {std::vector<int64_t>{0, 1, 2, 3}, {149, 7, 7, 31}, {64}}) {
    const data::Batch batch = data::pack(split_, list);
    const nn::Outputs want = teacher->signals(batch, {.hidden = true}),
                      found = answers->signals(batch, {.hidden = true});
    EXPECT_TRUE(torch::allclose(found.logits, want.logits, 1e-5, 1e-6));
    EXPECT_TRUE(torch::allclose(found.hidden[2], want.hidden[2], 1e-3, 1e-4));
  }
}

TEST_F(AnswersTest, AStudentsLossIsThatOfTheLiveTeacherToTheBit) {
  auto teacher = live();
  auto taught = remembered(teacher->config(), get(logits_only, *teacher));
  const data::Batch batch = data::pack(split_, first_batch(split_));
  auto loss = [&](Teacher& of) {
    std::unique_ptr<nn::Model> student = nn::build(nn::tiny_bert(HeadKind::classification, 1), 3);
    student->params().refresh(nn::Precision::float32);
    const Tensor p = at::log_softmax(of.signals(batch, {}).logits / 2, -1);
    const Tensor q = at::log_softmax(student->forward(batch, {}, {}).logits / 2, -1);
    return at::kl_div(q, p, at::Reduction::Sum, /*log_target=*/true).item<double>();
  };
  EXPECT_EQ(loss(*teacher), loss(*taught));
}

TEST_F(AnswersTest, PooledStatesAreKept) {
  auto teacher = live();
  std::shared_ptr<const Answers> answers = get({.pooled = true}, *teacher);
  const data::Batch batch = data::pack(split_, std::vector<int64_t>{5, 2});
  const nn::Outputs found = answers->signals(batch, {.pooled = true});
  EXPECT_TRUE(torch::equal(
      found.pooled,
      teacher->signals(batch, {.pooled = true}).pooled.to(torch::kHalf).to(torch::kFloat)));
  EXPECT_FALSE(found.logits.defined());
}

TEST(TopTokens, ByHand) {
  // softmax = 1/2, 1/4, 1/8, 1/8
  const Tensor logits = torch::tensor({{3.0, 1.0, 2.0, 1.0}}) * std::log(2.0);
  const nn::TopTokens top = top_tokens(logits.to(torch::kFloat), 2);
  EXPECT_TRUE(torch::equal(top.ids, torch::tensor({{0, 2}})));
  EXPECT_TRUE(torch::allclose(top.log_probs.exp(), torch::tensor({{0.5f, 0.25f}})));
  EXPECT_NEAR(top.tail.exp().item<double>(), 0.25, 1e-6);
  EXPECT_THROW(top_tokens(logits, 4), Error) << "there must be a tail";
}

TEST_F(AnswersTest, TopTokensAreTheLiveTeachers) {
  auto teacher = live(HeadKind::masked_lm);
  std::shared_ptr<const Answers> answers = get(tokens, *teacher);
  const data::Batch batch = masked(split_, std::vector<int64_t>{149, 3, 77, 4});
  const nn::Outputs want = teacher->signals(batch, {}), found = answers->signals(batch, {});
  const nn::TopTokens top = top_tokens(want.token_logits, 4);
  EXPECT_FALSE(found.token_logits.defined());
  EXPECT_TRUE(torch::equal(found.token_index, want.token_index));
  EXPECT_TRUE(torch::equal(found.top_tokens.ids, top.ids));
  EXPECT_TRUE(
      torch::equal(found.top_tokens.log_probs, top.log_probs.to(torch::kHalf).to(torch::kFloat)));
  // Rows were asked in other batches, where a sum of `width` products may have another order: a
  // logit then differs by width * epsilon of the largest, and the tail by twice that at most.
  const double width = static_cast<double>(teacher->config().hidden_size),
               largest = want.token_logits.abs().max().item<double>(),
               bound = 2 * width * std::numeric_limits<float>::epsilon() * std::max(largest, 1.0);
  EXPECT_TRUE(torch::allclose(found.top_tokens.tail, top.tail, 0, bound)) << bound;
}

TEST_F(AnswersTest, MoreTokensServeFewerAndFewerAreReplaced) {
  auto teacher = live(HeadKind::masked_lm);
  get({.top_k = 6}, *teacher);
  asked_.clear();
  const data::Batch batch = masked(split_, std::vector<int64_t>{9, 8});
  const nn::TopTokens found = get({.top_k = 2}, *teacher)->signals(batch, {}).top_tokens;
  EXPECT_TRUE(asked_.empty());
  const nn::TopTokens want = top_tokens(teacher->signals(batch, {}).token_logits, 2);
  EXPECT_TRUE(torch::equal(found.ids, want.ids));
  EXPECT_TRUE(torch::allclose(found.tail, want.tail, 1e-3, 1e-3)) << "the cut ones joined the tail";
  EXPECT_EQ(get({.top_k = 9}, *teacher)->signals(batch, {}).top_tokens.ids.size(1), 9);
  EXPECT_FALSE(asked_.empty());
}

TEST_F(AnswersTest, WithoutMaskingAllTokensArePredicted) {
  auto teacher = live(HeadKind::masked_lm);
  Questions questions = asking(tokens);
  questions.pack = nullptr;
  std::vector<Piece> pieces;
  for (Range range : ranges(split_)) pieces.push_back(answer(*teacher, questions, range));
  const data::Batch batch = data::pack(split_, std::vector<int64_t>{4, 2});
  const nn::Outputs found = Answers(questions, pieces).signals(batch, {});
  EXPECT_EQ(found.top_tokens.ids.size(0), batch.tokens());
}

TEST_F(AnswersTest, MemoryAndFilesAnswerAlike) {
  auto teacher = live();
  std::vector<Piece> pieces;
  for (Range range : ranges(split_)) pieces.push_back(answer(*teacher, asking(states), range));
  const Answers memory(asking(states), pieces);
  const data::Batch batch = data::pack(split_, std::vector<int64_t>{12, 99});
  const nn::Outputs a = memory.signals(batch, {.hidden = true}),
                    b = get(states, *teacher)->signals(batch, {.hidden = true});
  EXPECT_TRUE(torch::equal(a.logits, b.logits));
  EXPECT_TRUE(torch::equal(a.hidden[2], b.hidden[2]));
}

TEST_F(AnswersTest, AreComputedOnceAndExtended) {
  auto teacher = live();
  get(logits_only, *teacher);
  get(logits_only, *teacher);
  EXPECT_THAT(asked_, ElementsAre("logits"));
  const std::string before = read_file(file("logits"));
  const auto written = fs::last_write_time(file("logits"));
  get(states, *teacher);
  EXPECT_THAT(asked_, ElementsAre("logits", "hidden states 0, 2"));
  EXPECT_EQ(read_file(file("logits")), before);
  EXPECT_EQ(fs::last_write_time(file("logits")), written);
  get({.hidden = {2}}, *teacher);
  EXPECT_EQ(asked_.size(), 2u) << "an entry that holds more serves, too";
  ASSERT_EQ(told_.size(), 4u);
  EXPECT_THAT(told_[0], HasSubstr("logits of 150 rows kept in"));
  EXPECT_THAT(told_[1], HasSubstr("read from"));
  EXPECT_THAT(told_[2], HasSubstr("hidden states 0, 2 of 150 rows added to"));
  // Users can look: a plain safetensors file with the key beside it.
  storage::SafetensorsReader reader(file("hidden-2"));
  EXPECT_THAT(reader.at("hidden-2").shape, ElementsAre(split_.offsets.back(), width));
  EXPECT_THAT(read_file(file("logits").parent_path() / "key.json"),
              HasSubstr("\"teacher\": \"abc\""));
}

TEST_F(AnswersTest, AnotherKeyIsAnotherEntryAndTheDifferenceIsTold) {
  auto teacher = live();
  get(logits_only, *teacher);
  key_["teacher"] = "changed";
  Error refused = failure([&] { get(logits_only, *teacher, Missing::refuse); });
  EXPECT_EQ(refused.kind(), ErrorKind::model);
  EXPECT_THAT(refused.message(), HasSubstr("lacks logits of 150 rows"));
  EXPECT_THAT(refused.message(), HasSubstr("differs in: teacher"));
  EXPECT_FALSE(fs::exists(Cache(folder_, key_, questions_).entry())) << "nothing was written";
  get(logits_only, *teacher);
  EXPECT_EQ(asked_.size(), 2u);
  EXPECT_THAT(told_.back(), HasSubstr("differs in: teacher"));
}

TEST_F(AnswersTest, ForeignFilesInTheFolderDoNotMatter) {
  for (const char* name : {"list", "nothing", "large"}) make_folder(folder_ / name);
  write_file(folder_ / "list" / "key.json", "[1, 2]");
  write_file(folder_ / "nothing" / "key.json", "{\"teacher\": ");
  write_file(folder_ / "large" / "key.json", std::string((1 << 20) + 1, ' '));
  write_file(folder_ / "notes.txt", "mine");
  auto teacher = live();
  get(logits_only, *teacher);
  EXPECT_THAT(told_.back(), testing::Not(HasSubstr("nearest")));
}

TEST_F(AnswersTest, AFileOfAnotherEntryIsRefused) {
  auto teacher = live();
  get(logits_only, *teacher);
  const fs::path first = file("logits");
  key_["data"] = "changed";
  get(logits_only, *teacher);
  fs::copy_file(first, file("logits"), fs::copy_options::overwrite_existing);
  Error error = failure([&] { get(logits_only, *teacher); });
  EXPECT_EQ(error.kind(), ErrorKind::model);
  EXPECT_THAT(error.message(), HasSubstr("another teacher"));
  EXPECT_THAT(error.where(), HasSubstr("logits.safetensors"));
  EXPECT_THAT(error.hint(), HasSubstr("remove the file"));
}

TEST_F(AnswersTest, DamagedFilesAreRefused) {
  auto teacher = live();
  get(states, *teacher);
  change("logits", "logits", [](const Tensor& t) { return t.slice(0, 1); });
  EXPECT_THAT(reading(logits_only).message(), HasSubstr("of shape [150, 2]"));
  change("hidden-2", "hidden-2", [](const Tensor& t) { return t.to(torch::kBFloat16); });
  EXPECT_THAT(reading({.hidden = {2}}).message(), HasSubstr("no Half tensor 'hidden-2'"));
  fs::resize_file(file("hidden-0"), fs::file_size(file("hidden-0")) / 2);
  EXPECT_EQ(reading({.hidden = {0}}).kind(), ErrorKind::model);
}

TEST_F(AnswersTest, ValuesAreCheckedOnTheRowsThatAreRead) {
  auto teacher = live();
  get(states, *teacher);
  const double infinite = std::numeric_limits<double>::infinity();
  for (const char* name : {"logits", "hidden-2"})
    change(name, name, [&](Tensor t) {
      t[0][1] = infinite;
      return t;
    });
  std::shared_ptr<const Answers> answers = get(states, *teacher);
  answers->signals(data::pack(split_, std::vector<int64_t>{1, 2}), {.hidden = true});
  Error error = failure([&] {
    answers->signals(data::pack(split_, std::vector<int64_t>{1, 0}), {});
  });
  EXPECT_EQ(error.kind(), ErrorKind::model);
  EXPECT_THAT(error.message(), HasSubstr("not finite"));
  EXPECT_THAT(error.where(), HasSubstr("logits.safetensors"));
  EXPECT_THAT(reading({.hidden = {2}}).where(), HasSubstr("hidden-2.safetensors"));
}

TEST_F(AnswersTest, DamagedTopTokensAreRefused) {
  auto teacher = live(HeadKind::masked_lm);
  const auto refused = [&](const char* tensor, const char* message,
                           const std::function<Tensor(Tensor)>& edit) {
    fs::remove_all(folder_);
    get(tokens, *teacher);
    change("top_tokens", tensor, edit);
    EXPECT_THAT(reading(tokens).message(), HasSubstr(message)) << tensor;
  };
  refused("ids", "outside the vocabulary", [](Tensor t) { return t.fill_(vocabulary); });
  refused("ids", "outside the vocabulary", [](Tensor t) { return t.fill_(-1); });
  refused("tail", "not finite", [](Tensor t) { return t.fill_(std::nan("")); });
  refused("log_probs", "not finite", [](Tensor t) { return t.fill_(std::nan("")); });
  refused("positions", "other predicted positions", [](Tensor t) { return t.add(1); });
  refused("row_offsets", "do not rise", [](Tensor t) { return t.neg(); });
  refused("row_offsets", "tensor 'positions'", [](Tensor t) { return t.mul(2); });
  refused("log_probs", "tensor 'log_probs'", [](Tensor t) { return t.slice(1, 0, 3); });
}

TEST_F(AnswersTest, InterruptedWorkLeavesNothingBehind) {
  auto teacher = live();
  auto stopped = [&] {
    cached(
        folder_, key_, asking(states), Missing::compute,
        [](const Questions&, Range) -> Piece { throw Error(ErrorKind::interrupted, "stopped"); },
        [](const std::string&) {});
  };
  EXPECT_EQ(failure(stopped).kind(), ErrorKind::interrupted);
  std::ofstream(file("logits").parent_path() / ".logits.safetensors.1-0.tmp") << "of a killed job";
  get(states, *teacher);
  EXPECT_EQ(asked_.size(), 1u);
  for (const auto& entry : fs::directory_iterator(file("logits").parent_path()))
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr(".tmp")));
}

TEST_F(AnswersTest, OfTwoJobsAtOnceOneComputes) {
  std::atomic<int> computed{0};
  const Questions questions = asking(logits_only);
  auto job = [&] {
    auto teacher = live();
    return cached(
        folder_, key_, questions, Missing::compute,
        [&](const Questions& asked, Range range) {
          ++computed;
          std::this_thread::sleep_for(std::chrono::milliseconds(200));
          return answer(*teacher, asked, range);
        },
        [](const std::string&) {});
  };
  auto one = std::async(std::launch::async, job), two = std::async(std::launch::async, job);
  const data::Batch batch = data::pack(split_, std::vector<int64_t>{1});
  EXPECT_TRUE(
      torch::equal(one.get()->signals(batch, {}).logits, two.get()->signals(batch, {}).logits));
  EXPECT_EQ(computed, static_cast<int>(ranges(split_).size()));
}

// Pieces may be computed anywhere and in any order; the writer takes them in order.
TEST_F(AnswersTest, SharedAskingGivesTheSameFile) {
  split_ = make_split(5000);
  auto teacher = live();
  get(logits_only, *teacher);
  const std::string alone = read_file(file("logits"));
  fs::remove_all(folder_);

  const std::vector<Range> list = ranges(split_);
  ASSERT_GT(list.size(), 1u);
  const Questions questions = asking(logits_only);
  std::vector<Piece> pieces(list.size());
  for (size_t share = 0; share < 2; ++share) {
    auto another = live();
    for (size_t i = share; i < list.size(); i += 2)
      pieces[i] = answer(*another, questions, list[i]);
  }
  const Cache cache(folder_, key_, questions);
  make_folder(cache.entry());
  CacheWriter writer(cache, questions);
  EXPECT_EQ(failure([&] { writer.append(pieces[1], list[1]); }).kind(), ErrorKind::internal);
  for (size_t i = 0; i < list.size(); ++i) writer.append(pieces[i], list[i]);
  EXPECT_FALSE(fs::exists(file("logits"))) << "nothing appears before the commit";
  writer.commit();
  EXPECT_EQ(read_file(file("logits")), alone);
}

TEST_F(AnswersTest, ValuesThatAreNotFiniteAreNotKept) {
  class Broken final : public Teacher {
   public:
    explicit Broken(std::unique_ptr<Teacher> of) : of_(std::move(of)) {}
    nn::Outputs signals(const data::Batch& batch, const nn::Capture& capture) override {
      nn::Outputs outputs = of_->signals(batch, capture);
      outputs.hidden.at(2) = outputs.hidden.at(2) * 1e6;
      return outputs;
    }
    const nn::ModelConfig& config() const override { return of_->config(); }
    torch::Device device() const override { return of_->device(); }

   private:
    std::unique_ptr<Teacher> of_;
  } broken(live());
  Error error = failure([&] { get(states, broken); });
  EXPECT_EQ(error.kind(), ErrorKind::diverged);
  EXPECT_THAT(error.message(),
              HasSubstr("hidden states 2 are not finite, or too large for float16"));
  EXPECT_FALSE(fs::exists(file("hidden-2")));
}

}  // namespace
}  // namespace compress::teacher
