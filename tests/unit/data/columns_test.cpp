// Columns that rows of any task may have: weights and groups.

#include "compress/data/loader.h"
#include "support.h"
#include "token_files.h"

namespace compress::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Columns : public DataTest {
 protected:
  // All problems of a data set written as YAML.
  static std::string problems_of(const std::string& yaml) {
    DatasetOptions options;
    recipe::Problems problems;
    recipe::read_struct(DatasetOptions::options().info(), recipe::parse_text(yaml), &options,
                        problems);
    std::string text;
    for (const auto& problem : problems.list()) text += problem.what + "\n";
    return text;
  }
  DatasetOptions weighted(const std::string& name, std::string_view bytes) const {
    DatasetOptions options = dataset(name, bytes);
    options.weight = "w";
    options.group = "q";
    return options;
  }
};

constexpr const char* three_rows =
    "text\tlabel\tw\tq\na b\tx\t0.5\tfirst\nc\ty\t2\tsecond \nd e f\tx\t0\tfirst\n";

TEST_F(Columns, EveryFormatReadsThem) {
  const std::string csv = "text,label,w,q\na b,x,0.5,first\nc,y,2,\"second \"\nd e f,x,0,first\n";
  const std::string jsonl =
      "{\"text\": \"a b\", \"label\": \"x\", \"w\": 0.5, \"q\": \"first\"}\n"
      "{\"text\": \"c\", \"label\": \"y\", \"w\": 2, \"q\": \"second\"}\n"
      "{\"text\": \"d e f\", \"label\": \"x\", \"w\": 0, \"q\": \"first\"}\n";
  for (const auto& [name, bytes] : {std::pair<const char*, std::string>("a.tsv", three_rows),
                                    {"a.csv", csv},
                                    {"a.jsonl", jsonl}}) {
    const Split split = load(weighted(name, bytes));
    EXPECT_THAT(split.weights, ElementsAre(0.5f, 2, 0)) << name;
    EXPECT_THAT(split.groups,
                ElementsAre(group_number("first"), group_number("second"), group_number("first")))
        << name;
  }
  DatasetOptions numbers = weighted("n.jsonl",
                                    "{\"text\": \"a\", \"label\": \"x\", \"w\": 1, "
                                    "\"q\": 7}\n{\"text\": \"a\", \"label\": \"y\", "
                                    "\"w\": 1, \"q\": \"7\"}\n");
  EXPECT_THAT(load(numbers).groups, ElementsAre(group_number("7"), group_number("7")));
}

TEST_F(Columns, AGroupIsPartOfItsTextsHash) {
  // printf %s first | sha256sum begins with a7937b64b8caa58f.
  EXPECT_EQ(group_number(" first "), static_cast<int64_t>(0xa7937b64b8caa58full >> 1));
  EXPECT_NE(group_number("first"), group_number("First"));
}

TEST_F(Columns, TheQuestionMayBeTheGroup) {
  DatasetOptions options = dataset("a.tsv", "text\tother\tlabel\nq1\ta\tx\nq2\tb\ty\nq1\tc\ty\n");
  options.pair = "other";
  options.group = "text";
  const Split split = load(options);
  EXPECT_THAT(split.groups,
              ElementsAre(group_number("q1"), group_number("q2"), group_number("q1")));
  EXPECT_THAT(problems_of("{train: a.tsv, text: text, pair: other, label: label, group: other, "
                          "weight: label}"),
              AllOf(HasSubstr("column \"label\" is used twice"), Not(HasSubstr("\"other\""))));
}

TEST_F(Columns, BadOnesAreTold) {
  for (const auto& [cell, message] :
       {std::pair("-1\tq", "the weight \"-1\" is not a number from 0"),
        {"much\tq", "the weight \"much\" is not"},
        {"1e99\tq", "the weight \"1e99\" is not"},
        {"1\t ", "an empty group"}}) {
    const std::string bytes = str("text\tlabel\tw\tq\na\tx\t1\tq\nb\ty\t", cell, "\n");
    EXPECT_THAT(error_of(ErrorKind::data, [&] { load(weighted("a.tsv", bytes)); }),
                AllOf(HasSubstr(message), HasSubstr("a.tsv:3")));
  }
}

TEST_F(Columns, FilesWithoutSuchColumnsAreRefused) {
  EXPECT_THAT(problems_of("{train: a, format: conll, text: '0', label: '1', weight: '2', task: "
                          "token_classification}"),
              HasSubstr("a conll file has no columns of rows"));
  EXPECT_THAT(problems_of("{train: a.tsv, text: a, task: language_model, concatenate: true, group: "
                          "b}"),
              HasSubstr("`concatenate` makes rows of its own"));
}

TEST_F(Columns, RowsThatAreLeftOutTakeTheirsAlong) {
  DatasetOptions options = texts("a.tsv", "text\tw\tq\na\t1\tx\n \t2\ty\nb\t3\tz\n");
  options.weight = "w";
  options.group = "q";
  const Split split = load(options);
  EXPECT_THAT(split.weights, ElementsAre(1, 3));
  EXPECT_THAT(split.groups, ElementsAre(group_number("x"), group_number("z")));
  DatasetOptions skipping = weighted("b.tsv", three_rows);
  skipping.skip_labels = {"y"};
  skipping.labels = {"x", "z"};
  EXPECT_THAT(load(skipping).weights, ElementsAre(0.5f, 0));
}

TEST_F(Columns, WindowsAndChoicesHaveThoseOfTheirRow) {
  DatasetOptions spans =
      texts("s.tsv", "q\tp\ta\tw\nwho\ta b c d e f g h\tb\t2\nwhat\ta b\tb\t3\n");
  spans.task = "span";
  spans.text = "q";
  spans.pair = "p";
  spans.answer = "a";
  spans.weight = "w";
  spans.max_length = 8;
  spans.stride = 1;
  const Split windows = load(spans);
  ASSERT_GT(windows.rows(), 2);
  EXPECT_EQ(windows.weights.size(), static_cast<size_t>(windows.rows()));
  EXPECT_EQ(windows.weights.front(), 2);
  EXPECT_EQ(windows.weights.back(), 3);
  DatasetOptions choices =
      dataset("c.tsv", "text\tc0\tc1\tlabel\tw\na\tb\tc\t0\t2\nd\te\tf\t1\t3\n");
  choices.task = "multiple_choice";
  choices.choices = {"c0", "c1"};
  choices.weight = "w";
  const Split split = load(choices);
  EXPECT_THAT(split.weights, ElementsAre(2, 2, 3, 3));
  const Batch batch = pack(split, std::vector<int64_t>{1, 0});
  EXPECT_TRUE(torch::equal(batch.targets.weights, torch::tensor({3.0f, 2.0f})));
  EXPECT_TRUE(torch::equal(slice(batch, 2, 4).targets.weights, torch::tensor({2.0f})));
}

TEST_F(Columns, TheCacheKeepsThem) {
  DatasetOptions options = weighted("a.tsv", three_rows);
  const Split memory = load(options);
  options.cache = path("cache");
  for (int time = 0; time < 2; ++time) {
    const Split mapped = load(options);
    EXPECT_FALSE(mapped.cache.empty());
    EXPECT_EQ(mapped.weights, memory.weights);
    EXPECT_EQ(mapped.groups, memory.groups);
  }
  // The hash tells the columns apart, and is as it was without them.
  DatasetOptions plain = dataset("a.tsv", three_rows);
  EXPECT_NE(load(plain).content_hash, memory.content_hash);
  EXPECT_TRUE(load(plain).weights.empty());
  std::swap(options.weight, options.group);
  options.cache = "off";
  EXPECT_THAT(error_of(ErrorKind::data, [&] { load(options); }), HasSubstr("the weight"));
}

TEST_F(Columns, ADamagedCacheIsRefused) {
  TokenFileKey key = small_key(RowTargets::classes);
  Split rows = small_rows(9, key);
  for (int64_t row = 0; row < 9; ++row) {
    rows.weights.push_back(static_cast<float>(row) / 2);
    rows.groups.push_back(row / 3);
  }
  key.weights = key.groups = true;
  const std::filesystem::path file = folder_ / "rows.tokens";
  {
    TokenWriter writer(file, key);
    writer.append(rows);
    writer.commit(0);
  }
  Split read;
  map_tokens(file, key, TokenCheck::all, read);
  EXPECT_EQ(read.weights, rows.weights);
  EXPECT_EQ(read.groups, rows.groups);
  TokenFileKey other = key;
  other.groups = false;
  EXPECT_THAT(error_of(ErrorKind::data, [&] { map_tokens(file, other, TokenCheck::all, read); }),
              HasSubstr("other columns"));
  const std::string bytes = bytes_of(file);
  const auto weights = static_cast<size_t>(bytes.find(std::string("\0\0\0?\0\0\x80?", 8)));
  ASSERT_NE(weights, std::string::npos);  // 0.5 and 1
  auto changed = [&](size_t at, float value) {
    std::string damaged = bytes;
    std::memcpy(damaged.data() + at, &value, sizeof value);
    std::ofstream(file, std::ios::binary) << damaged;
    return error_of(ErrorKind::data, [&] { map_tokens(file, key, TokenCheck::rows, read); });
  };
  EXPECT_THAT(changed(weights, -1), HasSubstr("the weight of row 1 is not"));
  EXPECT_THAT(changed(weights, std::nanf("")), HasSubstr("the weight of row 1 is not"));
  std::string damaged = bytes;
  damaged[weights + 2] ^= 1;
  std::ofstream(file, std::ios::binary) << damaged;
  EXPECT_THAT(error_of(ErrorKind::data, [&] { map_tokens(file, key, TokenCheck::all, read); }),
              HasSubstr("the hash of part 7"));
}

}  // namespace
}  // namespace compress::data
