// Masks, shared keys, cross-attention, caches and position biases of attention().

#include <gtest/gtest.h>

#include "compress/nn/layers.h"
#include "support.h"

namespace compress::nn {
namespace {

using torch::Tensor;

struct Span {
  int64_t begin, length;
};
TokenRows rows_of(const std::vector<Span>& spans) {
  TokenRows rows;
  for (const Span& span : spans) {
    rows.begin.push_back(span.begin);
    rows.length.push_back(span.length);
    rows.longest = std::max(rows.longest, span.length);
  }
  return rows;
}
std::vector<Span> one_after_the_other(const std::vector<int64_t>& lengths) {
  std::vector<Span> spans;
  int64_t at = 0;
  for (int64_t length : lengths) {
    spans.push_back({at, length});
    at += length;
  }
  return spans;
}
int64_t tokens_of(const std::vector<Span>& spans) {
  int64_t tokens = 0;
  for (const Span& span : spans) tokens = std::max(tokens, span.begin + span.length);
  return tokens;
}

struct Case {
  const char* name;
  std::vector<Span> queries, keys;  // no keys: the queries' own
  AttentionShape shape;
  bool bias = false;
  int64_t tail = 0;  // tokens behind the last row
};

std::ostream& operator<<(std::ostream& out, const Case& each) {
  return out << each.name;
}

AttentionShape shape_of(int64_t heads, int64_t width, int64_t kv_heads, bool causal,
                        int64_t window = 0) {
  AttentionShape shape;
  shape.heads = heads;
  shape.width = width;
  shape.kv_heads = kv_heads;
  shape.causal = causal;
  shape.window = window;
  shape.scale = 1 / std::sqrt(static_cast<double>(width));
  return shape;
}

struct Values {
  Tensor queries, pairs, bias;
  std::vector<Tensor> all() const {
    std::vector<Tensor> list;
    for (const Tensor* x : {&queries, &pairs, &bias})
      if (x->defined()) list.push_back(*x);
    return list;
  }
  Values to(torch::ScalarType type) const {
    auto leaf = [&](const Tensor& x, torch::ScalarType as) {
      return x.defined() ? x.detach().to(as).clone().requires_grad_(true) : x;
    };
    return {leaf(queries, type), leaf(pairs, type),
            leaf(bias, type == torch::kBFloat16 ? torch::kFloat32 : type)};
  }
};

Values random_values(const Case& c) {
  torch::manual_seed(1);
  const int64_t hidden = c.shape.heads * c.shape.width, pairs = 2 * c.shape.keys() * c.shape.width;
  Values values;
  const int64_t tokens = tokens_of(c.queries) + c.tail;
  values.queries = torch::randn({tokens, c.keys.empty() ? hidden + pairs : hidden}) * 2;
  int64_t longest = 0;
  for (const Span& span : c.queries) longest = std::max(longest, span.length);
  if (!c.keys.empty()) {
    values.pairs = torch::randn({tokens_of(c.keys) + c.tail, pairs}) * 2;
    for (const Span& span : c.keys) longest = std::max(longest, span.length);
  }
  if (c.bias) values.bias = torch::randn({c.shape.heads, 2 * longest + 1});
  return values;
}

// Row by row and head by head, as the definition says, in the type of the values.
Tensor by_definition(const Case& c, const Values& x) {
  const AttentionShape& s = c.shape;
  const int64_t width = s.width, group = s.heads / s.keys(), hidden = s.heads * width;
  const std::vector<Span>& keys = c.keys.empty() ? c.queries : c.keys;
  Tensor pairs = x.pairs.defined() ? x.pairs : x.queries.slice(1, hidden);
  Tensor out = torch::zeros({x.queries.size(0), hidden}, x.queries.options().requires_grad(false));
  for (size_t r = 0; r < keys.size(); ++r) {
    const int64_t n = c.queries[r].length, m = keys[r].length;
    if (n == 0 || m == 0) continue;
    Tensor place = (torch::arange(n) + (m - n)).unsqueeze(1), key = torch::arange(m).unsqueeze(0);
    Tensor hidden_keys = torch::zeros({n, m}, torch::kBool);
    if (s.causal) hidden_keys = hidden_keys.logical_or(key > place);
    if (s.window > 0) hidden_keys = hidden_keys.logical_or(key <= place - s.window);
    std::vector<Tensor> heads;
    for (int64_t h = 0; h < s.heads; ++h) {
      auto part = [&](const Tensor& from, const Span& span, int64_t column) {
        return from.narrow(0, span.begin, span.length).narrow(1, column, width);
      };
      Tensor q = part(x.queries, c.queries[r], h * width),
             k = part(pairs, keys[r], h / group * width),
             v = part(pairs, keys[r], (s.keys() + h / group) * width);
      Tensor scores = torch::matmul(q, k.t()) * s.scale;
      if (x.bias.defined())
        scores =
            scores +
            x.bias[h].index_select(0, (place - key + x.bias.size(1) / 2).flatten()).view({n, m});
      Tensor weights =
          torch::softmax(scores.masked_fill(hidden_keys, -1e30), -1).masked_fill(hidden_keys, 0);
      heads.push_back(torch::matmul(weights, v));
    }
    out = out.index_add(0, torch::arange(n) + c.queries[r].begin, torch::cat(heads, 1));
  }
  return out;
}

struct Call {
  TokenRows queries, keys;
  AttentionInput input;
  Call(const Case& c, const Values& values) : queries(rows_of(c.queries)), keys(rows_of(c.keys)) {
    input.queries = values.queries;
    input.pairs = values.pairs;
    input.distance_bias = values.bias;
    input.query_rows = &queries;
    if (!c.keys.empty()) input.key_rows = &keys;
  }
  Call(const Call&) = delete;
};

double furthest(const Tensor& a, const Tensor& b) {
  return a.numel() == 0 ? 0
                        : (a.to(torch::kDouble) - b.to(torch::kDouble)).abs().max().item<double>();
}

class General : public testing::TestWithParam<Case> {};

TEST_P(General, ValuesAndGradientsAreThoseOfTheDefinition) {
  const Case& c = GetParam();
  const Values given = random_values(c), exact = given.to(torch::kDouble);
  Tensor expected = by_definition(c, exact);
  Tensor upstream = torch::randn(expected.sizes(), torch::kDouble);
  (expected * upstream).sum().backward();
  for (bool packed : {true, false}) {
    const Values values = given.to(torch::kFloat32);
    Call call(c, values);
    DropoutSeeds seeds(5, false);
    Tensor y = packed ? attention(call.input, c.shape, seeds)
                      : padded_attention(call.input, c.shape, seeds);
    EXPECT_LT(furthest(y, expected), 1e-5) << packed;
    (y * upstream.to(torch::kFloat32)).sum().backward();
    const auto ours = values.all(), theirs = exact.all();
    for (size_t i = 0; i < ours.size(); ++i)
      EXPECT_LT(furthest(ours[i].grad(), theirs[i].grad()),
                5e-5 * std::max(1.0, theirs[i].grad().abs().max().item<double>()))
          << packed << " input " << i;
  }
}

TEST_P(General, WithoutGradientsTheSame) {
  const Case& c = GetParam();
  const Values values = random_values(c);
  torch::NoGradGuard no_grad;
  Call call(c, values);
  DropoutSeeds seeds(5, false);
  EXPECT_LT(
      furthest(attention(call.input, c.shape, seeds), by_definition(c, values.to(torch::kDouble))),
      1e-5);
}

TEST_P(General, Bfloat16IsClose) {
  const Case& c = GetParam();
  const Values rough = random_values(c).to(torch::kBFloat16), exact = rough.to(torch::kDouble);
  Tensor expected = by_definition(c, exact);
  Tensor upstream = torch::randn(expected.sizes());
  Call call(c, rough);
  DropoutSeeds seeds(5, false);
  Tensor y = attention(call.input, c.shape, seeds);
  ASSERT_EQ(y.scalar_type(), torch::kBFloat16);
  EXPECT_LT(furthest(y, expected), 0.03);
  y.backward(upstream.to(torch::kBFloat16));
  expected.backward(upstream.to(torch::kBFloat16).to(torch::kDouble));
  const auto ours = rough.all(), theirs = exact.all();
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_LT(furthest(ours[i].grad(), theirs[i].grad()),
              0.01 * std::max(1.0, theirs[i].grad().abs().max().item<double>()))
        << "input " << i;
  torch::NoGradGuard no_grad;
  EXPECT_LT(furthest(attention(call.input, c.shape, seeds), expected), 0.03);
}

const std::vector<int64_t> edges = {1, 127, 128, 129, 300};

INSTANTIATE_TEST_SUITE_P(
    Shapes, General,
    testing::Values(
        Case{"plain", one_after_the_other(edges), {}, shape_of(2, 16, 0, false)},
        Case{"causal", one_after_the_other(edges), {}, shape_of(2, 16, 0, true), false, 3},
        Case{"grouped", one_after_the_other({5, 1, 60, 49, 48}), {}, shape_of(6, 16, 2, true)},
        Case{"one key head", one_after_the_other({17, 97}), {}, shape_of(7, 20, 1, false)},
        Case{"window", one_after_the_other(edges), {}, shape_of(2, 8, 1, true, 40)},
        Case{"narrow window", one_after_the_other({1, 2, 100}), {}, shape_of(2, 8, 2, true, 1)},
        Case{"window only", one_after_the_other({130, 7}), {}, shape_of(2, 8, 2, false, 9)},
        Case{"bias", one_after_the_other({1, 33, 129}), {}, shape_of(4, 16, 2, false), true},
        Case{"causal bias", one_after_the_other({100, 8}), {}, shape_of(2, 16, 2, true), true},
        Case{"gaps", {{3, 5}, {10, 2}, {12, 40}}, {}, shape_of(2, 16, 1, true), false, 4},
        Case{"out of order", {{40, 30}, {0, 33}}, {}, shape_of(2, 16, 1, true), false, 2},
        Case{"cross", one_after_the_other({4, 130, 1, 3}), one_after_the_other({9, 5, 200, 1}),
             shape_of(4, 16, 2, false), false, 2},
        Case{"cross with bias", one_after_the_other({4, 30}), one_after_the_other({9, 5}),
             shape_of(2, 16, 2, false), true},
        Case{"no keys", one_after_the_other({4, 3}), {{0, 0}, {0, 6}}, shape_of(2, 16, 2, false)},
        Case{"prefix",
             one_after_the_other({4, 3, 60}),
             {{0, 9}, {9, 8}, {20, 65}},
             shape_of(2, 16, 1, true)},
        Case{"fewer keys than queries",
             one_after_the_other({10, 3}),
             {{0, 4}, {4, 3}},
             shape_of(2, 16, 1, true)},
        Case{"cache",
             {{2, 1}, {0, 1}, {1, 1}},
             {{100, 57}, {3, 16}, {40, 1}},
             shape_of(14, 32, 2, true)},
        Case{
            "cache of one head", {{0, 1}, {1, 1}}, {{7, 129}, {200, 64}}, shape_of(2, 64, 2, true)},
        Case{"cache and window",
             {{0, 1}, {1, 1}},
             {{0, 150}, {150, 3}},
             shape_of(4, 16, 2, true, 20)},
        Case{"cache and bias",
             {{0, 1}, {1, 1}},
             {{0, 150}, {150, 33}},
             shape_of(4, 16, 4, true),
             true},
        Case{"few tokens and a cache",
             {{0, 3}, {3, 4}},
             {{0, 150}, {150, 4}},
             shape_of(6, 16, 2, true)},
        Case{
            "cache of odd width", {{0, 1}, {1, 1}}, {{0, 15}, {15, 30}}, shape_of(4, 12, 2, true)}),
    [](const auto& test) {
      std::string name = test.param.name;
      std::replace(name.begin(), name.end(), ' ', '_');
      return name;
    });

// Rows of a cache that several continuations read.
TEST(General, RowsMayShareKeys) {
  Case c{"", {{0, 1}, {1, 1}, {2, 1}}, {{0, 20}, {0, 20}, {5, 9}}, shape_of(4, 16, 2, false)};
  const Values given = random_values(c), exact = given.to(torch::kDouble);
  Tensor expected = by_definition(c, exact);
  expected.sum().backward();
  const Values values = given.to(torch::kFloat32);
  Call call(c, values);
  DropoutSeeds seeds(5, false);
  Tensor y = attention(call.input, c.shape, seeds);
  EXPECT_LT(furthest(y, expected), 1e-5);
  y.sum().backward();
  EXPECT_LT(furthest(values.pairs.grad(), exact.pairs.grad()), 1e-4);
  torch::NoGradGuard no_grad;
  EXPECT_LT(furthest(attention(call.input, c.shape, seeds), expected), 1e-5);
}

TEST(General, ColumnsBehindTheQueriesAreLeftAlone) {
  Case c{"", one_after_the_other({6, 50}), {}, shape_of(2, 16, 1, true)};
  const Values given = random_values(c);
  Tensor wide = torch::cat({given.queries, torch::randn({56, 5})}, 1).requires_grad_(true);
  const Values values = given.to(torch::kFloat32);
  Call own(c, values), other(c, values);
  other.input.queries = wide;
  DropoutSeeds seeds(5, false);
  Tensor y = attention(own.input, c.shape, seeds), z = attention(other.input, c.shape, seeds);
  EXPECT_TRUE(torch::equal(y, z));
  y.square().sum().backward();
  z.square().sum().backward();
  EXPECT_TRUE(torch::equal(wide.grad().narrow(1, 0, 64), values.queries.grad()));
  EXPECT_EQ(wide.grad().narrow(1, 64, 5).abs().max().item<float>(), 0);
  // A part of a larger tensor.
  other.input.queries = wide.detach().narrow(1, 0, 64);
  EXPECT_TRUE(torch::equal(attention(other.input, c.shape, seeds), y));
}

TEST(General, CapturedScoresAreScaledAndBiased) {
  Case c{"", one_after_the_other({3, 2}), one_after_the_other({4, 5}), shape_of(2, 8, 1, true),
         true};
  const Values values = random_values(c);
  Call call(c, values);
  DropoutSeeds seeds(5, false);
  Tensor scores;
  Tensor y = attention(call.input, c.shape, seeds, &scores);
  EXPECT_LT(furthest(y, by_definition(c, values.to(torch::kDouble))), 1e-5);
  ASSERT_EQ(scores.sizes(), (std::vector<int64_t>{2, 2, 3, 5}));
  // Row 1, head 1, query 0 of 2 and key 4 of 5: the query lies at key 3.
  Tensor expected =
      (values.queries[3].slice(0, 8, 16) * values.pairs[8].slice(0, 0, 8)).sum() * c.shape.scale +
      values.bias[1][values.bias.size(1) / 2 - 1];
  EXPECT_NEAR(scores[1][1][0][4].item<float>(), expected.item<float>(), 1e-5);
}

// The same draws however an update is cut, and in backward.
TEST(General, DropoutIsAFunctionOfSeedAndPlace) {
  Case whole{"", one_after_the_other({7, 130, 20}), {}, shape_of(4, 16, 2, true)};
  whole.shape.dropout = 0.3;
  const Values values = random_values(whole);
  auto run = [&](const Case& c, const Tensor& queries, int64_t first, uint64_t seed) {
    Values part{queries, {}, {}};
    Call call(c, part);
    call.input.first_token = first;
    DropoutSeeds seeds(seed, true);
    return attention(call.input, c.shape, seeds);
  };
  Tensor y = run(whole, values.queries, 0, 1);
  EXPECT_TRUE(torch::equal(y, run(whole, values.queries, 0, 1)));
  EXPECT_FALSE(torch::equal(y, run(whole, values.queries, 0, 2)));
  Case rest = whole;
  rest.queries = one_after_the_other({130, 20});
  EXPECT_TRUE(torch::equal(y.slice(0, 7), run(rest, values.queries.slice(0, 7), 7, 1)));

  Tensor direction = torch::randn_like(values.queries), upstream = torch::randn_like(y);
  Tensor x = values.queries.clone().requires_grad_(true);
  (run(whole, x, 0, 1) * upstream).sum().backward();
  auto value = [&](double step) {
    return (run(whole, values.queries + step * direction, 0, 1).to(torch::kDouble) * upstream)
        .sum()
        .item<double>();
  };
  const double numeric = (value(1e-3) - value(-1e-3)) / 2e-3;
  EXPECT_NEAR((x.grad() * direction).sum().item<double>(), numeric,
              5e-3 * std::max(1.0, std::abs(numeric)));
}

TEST(General, DoesNotDependOnTheNumberOfThreads) {
  Case c{"", one_after_the_other({70, 130, 20, 3}), {}, shape_of(4, 16, 2, true), true};
  const Values given = random_values(c);
  auto run = [&](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    const Values values = given.to(torch::kFloat32);
    Call call(c, values);
    DropoutSeeds seeds(5, false);
    attention(call.input, c.shape, seeds).square().sum().backward();
    at::set_num_threads(before);
    return values;
  };
  const auto one = run(1).all(), many = run(4).all();
  for (size_t i = 0; i < one.size(); ++i)
    EXPECT_TRUE(torch::equal(one[i].grad(), many[i].grad())) << i;
}

// A window that leaves nothing out keeps the scores in rows.
TEST(General, ScoresInColumnsGiveTheSameBits) {
  for (int64_t width : {16, 32, 64})
    for (int64_t kv_heads : {1, 4}) {
      Case c{"",
             one_after_the_other({1, 2, 7, 8, 9, 15, 16, 17, 22, 31, 33, 48, 95, 97, 130}),
             {},
             shape_of(4, width, kv_heads, false)};
      AttentionShape rows = c.shape;
      rows.window = 1000;
      const Values given = random_values(c);
      for (auto type : {torch::kFloat32, torch::kBFloat16}) {
        torch::NoGradGuard no_grad;
        const Values values = given.to(type);
        Call call(c, values);
        DropoutSeeds seeds(5, false);
        EXPECT_TRUE(
            torch::equal(attention(call.input, c.shape, seeds), attention(call.input, rows, seeds)))
            << width << " " << kv_heads << " " << type;
      }
    }
}

// Keys and values of their own, more and fewer than queries.
TEST(General, ScoresInColumnsOfOtherKeys) {
  Case c{"", one_after_the_other({5, 40, 20}), one_after_the_other({50, 3, 20}),
         shape_of(2, 32, 2, false)};
  AttentionShape rows = c.shape;
  rows.window = 1000;
  const Values values = random_values(c).to(torch::kFloat32);
  torch::NoGradGuard no_grad;
  Call call(c, values);
  DropoutSeeds seeds(5, false);
  EXPECT_TRUE(
      torch::equal(attention(call.input, c.shape, seeds), attention(call.input, rows, seeds)));
}

TEST(General, RowsThatDoNotFitAreErrors) {
  Case c{"", one_after_the_other({3}), one_after_the_other({4}), shape_of(2, 8, 1, true)};
  const Values values = random_values(c);
  DropoutSeeds seeds(5, false);
  Call call(c, values);
  call.keys.begin[0] = 1;
  EXPECT_THROW(attention(call.input, c.shape, seeds), c10::Error);
  call.keys.begin[0] = 0;
  AttentionShape shape = c.shape;
  shape.kv_heads = 3;
  EXPECT_THROW(attention(call.input, shape, seeds), c10::Error);
  call.input.distance_bias = torch::zeros({2, 5});  // reaches 2, not 3
  EXPECT_THROW(attention(call.input, c.shape, seeds), c10::Error);
}

}  // namespace
}  // namespace compress::nn
