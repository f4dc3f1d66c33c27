#include "token_losses.h"

#include <functional>
#include <limits>

#include "compress/base/error.h"

namespace compress::objective {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The losses [n] of rows begin .. begin + n - 1, whose logits are `z` [n, V]. `out` [n, V] is free
// to be used; with `wanted` it receives the gradient of each row's loss.
using Chunk = std::function<Tensor(const Tensor& z, int64_t begin, Tensor& out, bool wanted)>;

// Numbers of a chunk: on the CPU they should stay in the processor's cache between its operations,
// on a device its launches should be few.
int64_t chunk_rows(const Tensor& logits) {
  const int64_t numbers = logits.is_cpu() ? int64_t{1} << 19 : int64_t{1} << 26;
  return std::clamp<int64_t>(numbers / std::max<int64_t>(1, logits.size(1)), 1, logits.size(0));
}

class InChunks : public torch::autograd::Function<InChunks> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& logits, const Chunk& chunk,
                        bool wanted) {
    const int64_t rows = logits.size(0), step = chunk_rows(logits);
    Tensor whole = wanted ? torch::empty_like(logits, at::MemoryFormat::Contiguous)
                          : torch::empty({step, logits.size(1)}, logits.options());
    Tensor losses = torch::empty({rows}, logits.options());
    for (int64_t begin = 0; begin < rows; begin += step) {
      const int64_t count = std::min(step, rows - begin);
      Tensor out = whole.narrow(0, wanted ? begin : 0, count);
      losses.narrow(0, begin, count)
          .copy_(chunk(logits.narrow(0, begin, count), begin, out, wanted));
    }
    if (wanted) context->saved_data["gradient"] = whole;
    return losses;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    if (context->saved_data.count("gradient") == 0)
      throw Error(ErrorKind::internal, "a second backward pass through a loss over a vocabulary");
    Tensor gradient = context->saved_data["gradient"].toTensor();
    context->saved_data.clear();
    return {gradient.mul_(gradients[0].unsqueeze(1)), Tensor(), Tensor()};
  }
};

Tensor in_chunks(const Tensor& logits, const Chunk& chunk) {
  return InChunks::apply(logits, chunk, torch::GradMode::is_enabled() && logits.requires_grad());
}

// log softmax(z / temperature) into `out`.
void softened(const Tensor& z, double temperature, Tensor& out) {
  at::_log_softmax_out(out, temperature == 1 ? z : z / temperature, 1, /*half_to_float=*/false);
}
Tensor softened(const Tensor& z, double temperature) {
  return at::log_softmax(temperature == 1 ? z : z / temperature, 1);
}

}  // namespace

Tensor token_cross_entropy(const Tensor& logits, const Tensor& labels, double smoothing) {
  const double spread = smoothing / static_cast<double>(logits.size(1));
  return in_chunks(logits, [&](const Tensor& z, int64_t begin, Tensor& out, bool wanted) {
    softened(z, 1, out);
    const Tensor label = labels.narrow(0, begin, z.size(0)).unsqueeze(1);
    Tensor loss = out.gather(1, label).squeeze(1) * (smoothing - 1);
    if (smoothing > 0) loss = loss - out.sum(1) * spread;
    if (wanted) {
      out.exp_();
      if (smoothing > 0) out.sub_(spread);
      out.scatter_add_(1, label, torch::full({z.size(0), 1}, smoothing - 1, z.options()));
    }
    return loss;
  });
}

Tensor token_divergence(const Tensor& student, const Tensor& teacher, double temperature,
                        bool entropy) {
  return in_chunks(student, [&](const Tensor& z, int64_t begin, Tensor& out, bool wanted) {
    softened(z, temperature, out);
    Tensor difference = softened(teacher.narrow(0, begin, z.size(0)), temperature);
    const Tensor p = difference.exp();
    const Tensor loss = entropy ? (p * out).sum(1).neg_() : difference.sub_(out).mul_(p).sum(1);
    if (wanted) out.exp_().sub_(p).div_(temperature);
    return loss;
  });
}

Tensor token_divergence(const Tensor& student, const nn::TopTokens& teacher, double temperature,
                        bool entropy) {
  const double none = -std::numeric_limits<double>::infinity();
  const int64_t kept = teacher.ids.size(1);
  return in_chunks(student, [&](const Tensor& z, int64_t begin, Tensor& out, bool wanted) {
    const int64_t rows = z.size(0);
    const Tensor ids = teacher.ids.narrow(0, begin, rows);
    out.copy_(z).scatter_(1, ids, none);
    const Tensor others = out.logsumexp(1, /*keepdim=*/true);
    const Tensor ours = softened(at::cat({z.gather(1, ids), others}, 1), temperature),
                 theirs = softened(at::cat({teacher.log_probs.narrow(0, begin, rows),
                                            teacher.tail.narrow(0, begin, rows).unsqueeze(1)},
                                           1),
                                   temperature);
    const Tensor p = theirs.exp();
    if (wanted) {
      const Tensor slope = (ours.exp() - p) / temperature;
      out.sub_(others).exp_().mul_(slope.narrow(1, kept, 1));
      out.scatter_(1, ids, slope.narrow(1, 0, kept));
    }
    return (p * (entropy ? -ours : theirs - ours)).sum(1);
  });
}

}  // namespace compress::objective
