#pragma once
// Whether one model is better than another: tests on the differences of two models' scores, example
// by example and seed by seed.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace compress::eval {

// Student's t distribution. `degrees` > 0, or infinity for the normal one.
double t_below(double t, double degrees);               // P(T <= t)
double t_quantile(double probability, double degrees);  // t with P(T <= t) = probability in (0, 1)

// The same examples, scored by both models trained from each seed: difference[s][i] is what the
// first model scored on example i more than the second one (1, 0, -1 for right and wrong).
using Differences = std::vector<std::vector<double>>;

// The mean difference d with a two-sided interval of level 1 - p, where d_si = d + seed_s +
// example_i + rest_si. Its variance is that between seeds over S plus that between examples over n
// plus the rest's over S n: by the mean squares of a two-way table, (max(M_seeds - M_rest, 0) +
// M_examples) / (S n). The quantile is Student's with the degrees of freedom of Satterthwaite 1946
// (Biometrics Bulletin 2, 110-114). With one seed the examples' part stands alone, and the interval
// says nothing of other seeds.
struct PairedTest {
  double difference = 0, low = 0, high = 0;
  double error = 0;    // standard error of the difference
  double degrees = 0;  // of freedom
  // The smallest difference that 80% of such comparisons would tell from 0.
  double visible = 0;
  int64_t seeds = 0, examples = 0;
};
// Error{data} for seeds with different numbers of examples, or fewer than two.
PairedTest paired_test(const Differences& differences, double p);

enum class Verdict { held, missed, undecided };
const char* verdict_name(Verdict verdict);  // "held", "MISSED", "undecided"
// Whether the difference is above `bound`: held if all of the interval lies above, missed if all of
// it lies below. `within: e` is bound = -e.
Verdict above(const PairedTest& test, double bound);
// "+0.0123 [+0.0040, +0.0206], 3 seeds, n 4,000, smallest visible 0.0118"
std::string text_of(const PairedTest& test);

// The exact McNemar test (McNemar 1947, Psychometrika 12, 153-157; binomial): two-sided probability
// of so uneven a split of the examples that one model alone has right, where both are as good.
double mcnemar(int64_t only_first, int64_t only_second);

// A percentile interval of level 1 - p for the mean difference from `draws` resamples of seeds and
// examples with replacement, drawn from `seed`.
std::pair<double, double> bootstrap(const Differences& differences, double p, int64_t draws,
                                    uint64_t seed);

}  // namespace compress::eval
