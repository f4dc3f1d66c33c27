#include <ATen/Parallel.h>

#include "compress/nn/layers.h"
#include "kernels/elements.h"

namespace compress::nn {

namespace {

using c10::BFloat16;
using torch::Tensor;

// `sign` is -1 for the way back.
struct Turn {
  const float *cos, *sin;
  const int64_t* positions;
  int64_t tokens, heads, width, columns, x_stride;
  float sign;
};

template <int lanes, class T>
COMPRESS_INLINE void turn_rows_body(const Turn& turn, const T* x, T* y, int64_t begin,
                                    int64_t end) {
  const int64_t half = turn.width / 2, turned = turn.heads * turn.width;
  for (int64_t t = begin; t < end; ++t) {
    const T* from = x + t * turn.x_stride;
    T* to = y + t * turn.columns;
    int64_t column = 0;
    if (t < turn.tokens) {
      const float* cos = turn.cos + turn.positions[t] * half;
      const float* sin = turn.sin + turn.positions[t] * half;
      for (; column < turned; column += turn.width)
        for (int64_t j = 0; j < half; ++j) {
          const float first = simd::to_float(from[column + j]),
                      second = simd::to_float(from[column + half + j]), s = sin[j] * turn.sign;
          simd::from_float(first * cos[j] - second * s, to[column + j]);
          simd::from_float(second * cos[j] + first * s, to[column + half + j]);
        }
    }
    std::copy(from + column, from + turn.columns, to + column);
  }
}

COMPRESS_KERNEL(turn_rows, (const Turn& turn, const float* x, float* y, int64_t begin, int64_t end),
                (turn, x, y, begin, end))
COMPRESS_KERNEL(turn_rows,
                (const Turn& turn, const BFloat16* x, BFloat16* y, int64_t begin, int64_t end),
                (turn, x, y, begin, end))

Tensor turned_by_kernel(const Tensor& given, const Tensor& positions, const Tensor& cos,
                        const Tensor& sin, int64_t heads, int64_t width, bool back) {
  const Tensor x = given.stride(1) == 1 ? given : given.contiguous();
  Tensor y = torch::empty(x.sizes(), x.options().requires_grad(false));
  const Turn turn{cos.const_data_ptr<float>(),
                  sin.const_data_ptr<float>(),
                  positions.const_data_ptr<int64_t>(),
                  positions.size(0),
                  heads,
                  width,
                  x.size(1),
                  x.stride(0),
                  back ? -1.0f : 1.0f};
  simd::dispatch(x.scalar_type(), [&](auto sample) {
    using T = decltype(sample);
    at::parallel_for(0, x.size(0), std::max<int64_t>(1, (1 << 15) / x.size(1)),
                     [&](int64_t begin, int64_t end) {
                       turn_rows(turn, x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), begin, end);
                     });
  });
  return y;
}

Tensor turned_by_formula(const Tensor& x, const Tensor& positions, const Tensor& cos,
                         const Tensor& sin, int64_t heads, int64_t width) {
  const int64_t tokens = positions.size(0), turned = heads * width;
  auto rows = [&](const Tensor& table) {
    return table.to(x.device()).index_select(0, positions).unsqueeze(1);
  };
  const Tensor c = rows(cos), s = rows(sin);
  const auto halves = x.narrow(0, 0, tokens)
                          .narrow(1, 0, turned)
                          .reshape({tokens, heads, width})
                          .to(torch::promote_types(x.scalar_type(), torch::kFloat32))
                          .chunk(2, 2);
  Tensor out = at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, 2)
                   .reshape({tokens, turned})
                   .to(x.scalar_type());
  if (turned < x.size(1))
    out = at::cat({out, x.narrow(0, 0, tokens).narrow(1, turned, x.size(1) - turned)}, 1);
  if (tokens < x.size(0)) out = at::cat({out, x.narrow(0, tokens, x.size(0) - tokens)}, 0);
  return out;
}

class RotaryFunction : public torch::autograd::Function<RotaryFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x,
                        const Tensor& positions, const Tensor& cos, const Tensor& sin,
                        int64_t heads, int64_t width) {
    context->save_for_backward({positions, cos, sin});
    context->saved_data["heads"] = heads;
    context->saved_data["width"] = width;
    return turned_by_kernel(x, positions, cos, sin, heads, width, false);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    torch::autograd::variable_list out(6);
    out[0] = turned_by_kernel(gradients[0], saved[0], saved[1], saved[2],
                              context->saved_data["heads"].toInt(),
                              context->saved_data["width"].toInt(), true);
    return out;
  }
};

}  // namespace

torch::Tensor Rotary::operator()(const torch::Tensor& x, const torch::Tensor& positions,
                                 int64_t heads, int64_t width) const {
  TORCH_CHECK(x.dim() == 2 && width % 2 == 0 && x.size(1) >= heads * width &&
                  positions.size(0) <= x.size(0) && cos.size(1) == width / 2,
              "rotary positions: ", x.sizes(), " for ", heads, " heads of ", width);
  const torch::ScalarType type = x.scalar_type();
  if (!x.is_cpu() || (type != torch::kFloat32 && type != torch::kBFloat16))
    return turned_by_formula(x, positions, cos, sin, heads, width);
  const Tensor place = positions.contiguous();
  const int64_t* each = place.const_data_ptr<int64_t>();
  for (int64_t t = 0; t < place.size(0); ++t)
    TORCH_CHECK_INDEX(each[t] >= 0 && each[t] < cos.size(0), "position ", each[t],
                      " is out of range, there are ", cos.size(0));
  if (!torch::GradMode::is_enabled() || !x.requires_grad())
    return turned_by_kernel(x, place, cos, sin, heads, width, false);
  return RotaryFunction::apply(x, place, cos, sin, heads, width);
}

}  // namespace compress::nn
