// Scores one JSON object a line: {"names": [...], and the fields of compress::Predictions} from
// standard input gives a list of {"name", "value", "n", "note", "signature"}, or {"error", "kind"},
// on standard output; {"answer": ..., "answers": [...]} gives {"exact", "f1"}.

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "compress/base/error.h"
#include "compress/eval/metrics.h"

namespace {

nlohmann::json score(const nlohmann::json& line) {
  if (line.contains("answer")) {
    const auto score = compress::compare_answer(line["answer"].get<std::string>(),
                                                line.at("answers").get<std::vector<std::string>>());
    return {{"exact", score.exact}, {"f1", score.f1}};
  }
  compress::Predictions p;
  p.classes = line.value("classes", p.classes);
  p.labels = line.value("labels", p.labels);
  p.num_classes = line.value("num_classes", p.num_classes);
  p.values = line.value("values", p.values);
  p.targets = line.value("targets", p.targets);
  p.nll_sum = line.value("nll_sum", p.nll_sum);
  p.tokens = line.value("tokens", p.tokens);
  p.positive_class = line.value("positive_class", p.positive_class);
  p.ranked.groups = line.value("groups", p.ranked.groups);
  p.ranked.scores = line.value("scores", p.ranked.scores);
  p.ranked.relevance = line.value("relevance", p.ranked.relevance);
  p.above = line.value("above", p.above);
  p.sets.labels = line.value("width", p.sets.labels);
  p.sets.scores = line.value("set_scores", p.sets.scores);
  p.sets.chosen = line.value("chosen", p.sets.chosen);
  p.sets.given = line.value("given", p.sets.given);
  p.texts.written = line.value("written", p.texts.written);
  p.texts.references = line.value("references", p.texts.references);
  p.answers.exact = line.value("exact", p.answers.exact);
  p.answers.f1 = line.value("f1", p.answers.f1);
  p.answers.has_answer = line.value("has_answer", p.answers.has_answer);
  p.answers.null_odds = line.value("null_odds", p.answers.null_odds);
  p.answers.best_exact = line.value("best_exact", p.answers.best_exact);
  p.answers.best_f1 = line.value("best_f1", p.answers.best_f1);
  auto names = line.at("names").get<std::vector<std::string>>();
  nlohmann::json out = nlohmann::json::array();
  for (const compress::Metric& m : compress::compute_metrics(names, p))
    out.push_back({{"name", m.name},
                   {"value", m.value},
                   {"n", m.n},
                   {"note", m.note},
                   {"signature", m.signature}});
  return out;
}

}  // namespace

int main() {
  std::string text;
  while (std::getline(std::cin, text)) {
    try {
      std::cout << score(nlohmann::json::parse(text)).dump() << '\n';
    } catch (const compress::Error& error) {
      nlohmann::json out = {{"error", error.message()},
                            {"kind", compress::kind_name(error.kind())}};
      std::cout << out.dump() << '\n';
    } catch (const nlohmann::json::exception& error) {
      std::cerr << "metrics_lines: " << error.what() << '\n';
      return 1;
    }
  }
  return std::cout.flush() ? 0 : 1;
}
