// Metrics of the likelihood of tokens.

#include <algorithm>
#include <cmath>

#include "compress/base/error.h"
#include "compress/base/strings.h"
#include "metrics/checks.h"

namespace compress {

Metric perplexity(double nll_sum, int64_t tokens) {
  check_sizes("perplexity", static_cast<size_t>(std::max<int64_t>(tokens, 0)),
              static_cast<size_t>(std::max<int64_t>(tokens, 0)));
  if (!std::isfinite(nll_sum))
    throw Error(ErrorKind::diverged,
                str("perplexity: the summed log-likelihood is ", shortest(nll_sum)), {},
                "the evaluated model computes non-finite numbers; see how its training went");
  double mean = nll_sum / static_cast<double>(tokens);
  Metric metric{"perplexity", std::exp(mean), tokens, {}};
  if (!std::isfinite(metric.value))
    metric.note =
        str("a mean loss of ", fixed(mean, 1), " nats is too large: perplexity overflows");
  return metric;
}

namespace eval {

void add_likelihood_metrics(MetricRegistry& registry) {
  add_metric(
      registry,
      {Need::likelihood, false,
       [](const Predictions& p, int64_t) { return perplexity(p.nll_sum, p.tokens); }},
      "perplexity", "exponential of the mean negative log-likelihood of a token",
      "exp(sum_t -log p_t / T)", "",
      "Of a masked model over the masked tokens, 15%, the same each time; of others over all "
      "tokens but a row's first. Infinity with a note where it overflows.");
}

}  // namespace eval
}  // namespace compress
