#pragma once
// Task metrics as pure functions of predictions and references. Values equal scikit-learn's
// (classification) and scipy's (correlations) to rounding; where those warn or return NaN, the
// value is 0 and `note` says why.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace compress {

struct Metric {
  std::string name;
  double value = 0;
  int64_t n = 0;     // examples (tokens for perplexity) that the value was computed from
  std::string note;  // a warning for people, empty in the ordinary case
  std::string of{};  // the class that a metric of one class is about, else empty
  // The convention of a metric that has several, as its reference implementation writes it.
  std::string signature{};
};
// How people are told which number it is: "accuracy", "f1 of positive".
std::string title(const Metric& metric);

// Entities of tagged words: predicted, labelled, and both with the same bounds and type.
struct EntityCounts {
  int64_t predicted = 0, labelled = 0, both = 0;
};
// Answers to questions, each entry of one question.
struct Answers {
  std::vector<std::string> ids;    // of the questions, as their file has them
  std::vector<std::string> texts;  // what was answered; "" where the model said that there is none
  std::vector<double> exact, f1;   // of that
  // Whether an answer is given; how much the score of no answer is above that of the best one; and
  // what the best one scores whatever that says. Empty where every question has an answer.
  std::vector<uint8_t> has_answer;
  std::vector<double> null_odds, best_exact, best_f1;

  int64_t questions() const { return static_cast<int64_t>(exact.size()); }
};

// Rows with any number of L labels, one row after the other.
struct LabelSets {
  int64_t labels = 0;                  // L
  std::vector<double> scores;          // [n L] finite: the larger, the likelier
  std::vector<uint8_t> chosen, given;  // [n L] 0 or 1: predicted and true

  int64_t rows() const { return labels > 0 ? static_cast<int64_t>(given.size()) / labels : 0; }
};

// Texts that were written, and for each those that it is compared with (one or more).
struct WrittenTexts {
  std::vector<std::string> written;
  std::vector<std::vector<std::string>> references;
};

// Rows of queries, which are ranked within their query by their scores, the highest first.
struct RankedRows {
  std::vector<int64_t> groups;    // which query a row is of
  std::vector<double> scores;     // finite
  std::vector<double> relevance;  // finite, from 0; relevant: above 0
  // What each row proposes as its query's answer, where the data set names that column.
  std::vector<std::string> candidates;
};

// What an evaluator gathered over a split. A classifier fills classes and labels, a regressor
// values and targets, a language model nll_sum and tokens. A tagger fills classes and labels of all
// words and, where its classes are tags of entities, entities; a model that finds answers fills
// answers.
struct Predictions {
  std::vector<int64_t> classes, labels;  // predicted and true class ids in [0, num_classes)
  int64_t num_classes = 0;
  std::vector<double> values, targets;  // predicted and true scores
  double nll_sum = 0;                   // negative log-likelihood summed over tokens, in nats
  int64_t tokens = 0;
  int64_t positive_class = 1;      // the class that `f1` is about
  std::string positive_name;       // its name
  bool positive_is_given = false;  // by the data set: `f1` then fits any number of classes
  std::optional<EntityCounts> entities;
  Answers answers;
  RankedRows ranked;  // of a split with groups
  LabelSets sets;
  WrittenTexts texts;
  // Of gaps: how many tokens of the vocabulary are likelier than the right one. `ranked.groups` are
  // theirs, where they have some.
  std::vector<int64_t> above;
  // How classes, and scores, were told where several ways exist: the signature of their metrics.
  std::string classes_by, values_by;
};

// Every function below throws Error{data} when there is nothing to score, Error{diverged} when a
// prediction (or the summed likelihood) is NaN or infinite, Error{data} when a target is, and
// Error{internal} when the two spans differ in length. All are O(n), the Spearman correlation O(n
// log n).

// Share of equal ids, in [0, 1].
Metric accuracy(std::span<const int64_t> classes, std::span<const int64_t> labels);
// F1 of one class: 2 tp / (2 tp + fp + fn); 0 with a note when the class occurs on neither side.
// `name` is that of the class, for Metric::of.
Metric f1_binary(std::span<const int64_t> classes, std::span<const int64_t> labels,
                 int64_t positive, const std::string& name = {});
// Mean F1 over the classes that occur among labels or predictions (scikit-learn's macro average,
// zero_division 0).
Metric f1_macro(std::span<const int64_t> classes, std::span<const int64_t> labels);
// Matthews correlation coefficient; for more than two classes Gorodkin's R_K (2004), as in
// scikit-learn. 0 with a note when all labels or all predictions are one class (an empty row or
// column of the two-class table).
Metric matthews(std::span<const int64_t> classes, std::span<const int64_t> labels);
// Product-moment correlation in [-1, 1]. A constant side leaves it undefined: 0 with a note.
Metric pearson(std::span<const double> values, std::span<const double> targets);
// Pearson correlation of the ranks, ties sharing their average rank. A constant side: 0 with a
// note.
Metric spearman(std::span<const double> values, std::span<const double> targets);
// Mean of the squared differences.
Metric mean_squared_error(std::span<const double> values, std::span<const double> targets);
// exp(nll_sum / tokens). Infinity with a note when the exponential overflows.
Metric perplexity(double nll_sum, int64_t tokens);

// Means over the queries that have a relevant row; the note counts the others. Rows with equal
// scores: the mean over all orders of them (McSherry and Najork 2008, Computing information
// retrieval performance measures efficiently in the presence of tied scores). 0 with a note where
// no query has a relevant row. `at` is the k of "@k", 0 = whole rankings. n counts the queries.
Metric mean_average_precision(const RankedRows& ranked);
Metric mean_reciprocal_rank(const RankedRows& ranked, int64_t at = 0);
Metric precision_at(const RankedRows& ranked, int64_t at);
Metric recall_at(const RankedRows& ranked, int64_t at);
// With the relevance as the gain and log2(rank + 1) as the discount.
Metric normalised_discounted_gain(const RankedRows& ranked, int64_t at = 0);

// Whether the class names are tags of entities: "O", and "B-<type>", "I-<type>" and so on of one of
// the schemes IO, IOB1, IOB2, IOBES (E ends an entity, S is one word), BILOU (L, U) and BMES (M);
// also without types ("B", "I", "O").
bool are_entity_tags(std::span<const std::string> names);
// Adds the entities of one sentence, which need no scheme to be told: an entity begins at B or S,
// at another tag behind O, E or S, and where the type changes; it ends before the next one or O
// (conlleval; Tjong Kim Sang and De Meulder 2003). L counts as E, U as S, M as I. Only the same
// words with the same type count as found.
void count_entities(std::span<const std::string_view> predicted,
                    std::span<const std::string_view> labels, EntityCounts& counts);
enum class EntityScore { f1, precision, recall };
// 2 both / (predicted + labelled), both / predicted, both / labelled; 0 with a note without
// entities.
Metric entity_score(EntityScore which, const EntityCounts& counts);

// SQuAD's scores of one answer (Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1) as the
// evaluation script of SQuAD 2.0 computes them: the best over the given answers, after lower-casing
// and removing punctuation (ASCII's), articles and extra space; case, white space and the bounds of
// words are Python's. An empty text is no answer, and a given answer of which nothing is left is
// none. tests/interop/test_answers.py compares the two.
struct AnswerScore {
  bool exact = false;
  double f1 = 0;  // of the words in common
};
AnswerScore compare_answer(std::string_view predicted, std::span<const std::string> answers);

// The same for questions that may have no answer: the best value that a threshold on null_odds
// gives (find_best_thresh of the script), where the best answer is withheld from the questions
// above it.
struct BestThreshold {
  double value = 0, threshold = 0;
};
BestThreshold best_threshold(const Answers& answers, std::span<const double> scores);

// Share of queries (groups of rows with classes) all of whose rows are classified right: exact
// match by question.
Metric group_exact_match(std::span<const int64_t> groups, std::span<const int64_t> classes,
                         std::span<const int64_t> labels);
// Mean over queries of compare_answer() of the candidate with the highest score (of equal ones the
// first) and those of the query's relevant rows. A query without one counts 0, and the note counts
// them.
Metric group_answer(const RankedRows& ranked, bool exact);
// Mean over groups of their rows' correlation, each group weighing 1, or as many as it has rows.
// A group whose correlation is undefined counts 0, and the note counts them.
Metric mean_correlation(std::span<const int64_t> groups, std::span<const double> values,
                        std::span<const double> targets, bool ranks, bool weighted);

// Of label sets, equal to scikit-learn's f1_score (average micro, macro; zero_division 0),
// accuracy_score and label_ranking_average_precision_score.
Metric f1_micro(const LabelSets& sets);
Metric f1_macro(const LabelSets& sets);
Metric subset_accuracy(const LabelSets& sets);
Metric label_ranking_average_precision(const LabelSets& sets);

// Of written texts, with the signature of each: src/eval/metrics/ has the conventions.
Metric bleu(const WrittenTexts& texts);  // sacrebleu's corpus_bleu
Metric chrf(const WrittenTexts& texts);  // sacrebleu's corpus_chrf
// rouge-score's F1, mean over texts, of runs of n words; n = 0: of the longest common subsequence.
Metric rouge(const WrittenTexts& texts, int64_t n, bool stem);
Metric distinct_at(const WrittenTexts& texts, int64_t n);
// METEOR with its exact stage alone: no stems, no synonyms.
Metric meteor_exact(const WrittenTexts& texts);

// What an evaluator gathers numbers of. written: of texts that are generated, beside the
// likelihood. options: classes of answers that are compared. gaps: ranks in a vocabulary.
enum class MetricTask {
  classification,
  regression,
  language_model,
  tagging,
  answers,
  multi_label,
  written,
  options,
  gaps
};

// Names of all metrics; see metric.h.
std::vector<std::string> metric_names();
// Error{recipe} where the metric is unknown or needs numbers that the task does not give;
// `entities`: the classes are tags of entities; `groups`: the rows are of queries; `candidates`:
// which propose answers.
void check_metric(const std::string& name, MetricTask task, bool entities, bool groups = false,
                  bool candidates = false);
// Throws the Error{recipe} of `f1` where no class is named and there are not two.
[[noreturn]] void f1_needs_two(int64_t classes);
// False for mse and perplexity. Throws Error{recipe} with the nearest name when `name` is unknown.
bool higher_is_better(std::string_view name);

// The named metrics in the order asked for. Beyond the errors above: Error{recipe} for an unknown
// name (with the nearest one), for a metric that the task has no numbers for, and for `f1` unless
// there are two classes or the data set names one; Error{data} for a class id outside [0,
// num_classes).
std::vector<Metric> compute_metrics(std::span<const std::string> names,
                                    const Predictions& predictions);

}  // namespace compress
