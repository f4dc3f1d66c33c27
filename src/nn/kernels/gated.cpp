// activation(gate) * up in one pass, forward and backward.

#include <ATen/Parallel.h>

#include "compress/base/error.h"
#include "compress/nn/layers.h"
#include "kernels/activations.h"
#include "kernels/elements.h"

namespace compress::nn {

namespace {

using c10::BFloat16;
using torch::Tensor;

enum class Kind { gelu, gelu_tanh, silu, relu };

Kind kind_of(const std::string& name) {
  if (name == "gelu") return Kind::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Kind::gelu_tanh;
  if (name == "silu" || name == "swish") return Kind::silu;
  if (name == "relu") return Kind::relu;
  throw Error(ErrorKind::model, "unsupported activation '" + name + "'", {},
              "supported: gelu, gelu_new, relu, silu");
}

// `count` values (1 .. lanes); others are 0.
template <class V, class T>
COMPRESS_INLINE V read(const T* from, int64_t count) {
  constexpr int64_t lanes = simd::lanes_of<V>;
  float values[lanes] = {};
  if (count == lanes)
    for (int64_t i = 0; i < lanes; ++i) values[i] = simd::to_float(from[i]);
  else
    for (int64_t i = 0; i < count; ++i) values[i] = simd::to_float(from[i]);
  return simd::load<V>(values);
}
template <class V, class T>
COMPRESS_INLINE void write(V v, T* to, int64_t count) {
  constexpr int64_t lanes = simd::lanes_of<V>;
  float values[lanes];
  simd::store(values, v);
  if (count == lanes)
    for (int64_t i = 0; i < lanes; ++i) simd::from_float(values[i], to[i]);
  else
    for (int64_t i = 0; i < count; ++i) simd::from_float(values[i], to[i]);
}

// Rows begin .. end - 1 of x [rows, 2 width], y [rows, width].
template <int lanes, class Activation, class T>
COMPRESS_INLINE void forward_as(const T* x, T* y, int64_t begin, int64_t end, int64_t width) {
  using V = simd::Vec<lanes>;
  for (int64_t r = begin; r < end; ++r)
    for (int64_t j = 0; j < width; j += lanes) {
      const int64_t count = std::min<int64_t>(lanes, width - j);
      const T* at = x + r * 2 * width + j;
      V slope;
      write(Activation::value(read<V>(at, count), slope) * read<V>(at + width, count),
            y + r * width + j, count);
    }
}
template <int lanes, class Activation, class T>
COMPRESS_INLINE void backward_as(const T* x, const T* dy, T* dx, int64_t begin, int64_t end,
                                 int64_t width) {
  using V = simd::Vec<lanes>;
  for (int64_t r = begin; r < end; ++r)
    for (int64_t j = 0; j < width; j += lanes) {
      const int64_t count = std::min<int64_t>(lanes, width - j), at = r * 2 * width + j;
      const V upstream = read<V>(dy + r * width + j, count);
      V slope;
      const V value = Activation::value(read<V>(x + at, count), slope);
      write(upstream * read<V>(x + at + width, count) * slope, dx + at, count);
      write(upstream * value, dx + at + width, count);
    }
}

template <int lanes, class T>
COMPRESS_INLINE void forward_rows_body(Kind kind, const T* x, T* y, int64_t begin, int64_t end,
                                       int64_t width) {
  switch (kind) {
    case Kind::gelu:
      return forward_as<lanes, simd::Gelu>(x, y, begin, end, width);
    case Kind::gelu_tanh:
      return forward_as<lanes, simd::GeluTanh>(x, y, begin, end, width);
    case Kind::silu:
      return forward_as<lanes, simd::Silu>(x, y, begin, end, width);
    case Kind::relu:
      return forward_as<lanes, simd::Relu>(x, y, begin, end, width);
  }
}
template <int lanes, class T>
COMPRESS_INLINE void backward_rows_body(Kind kind, const T* x, const T* dy, T* dx, int64_t begin,
                                        int64_t end, int64_t width) {
  switch (kind) {
    case Kind::gelu:
      return backward_as<lanes, simd::Gelu>(x, dy, dx, begin, end, width);
    case Kind::gelu_tanh:
      return backward_as<lanes, simd::GeluTanh>(x, dy, dx, begin, end, width);
    case Kind::silu:
      return backward_as<lanes, simd::Silu>(x, dy, dx, begin, end, width);
    case Kind::relu:
      return backward_as<lanes, simd::Relu>(x, dy, dx, begin, end, width);
  }
}

// Overloads for float and bfloat16.
#define COMPRESS_GATED(T)                                                                     \
  COMPRESS_KERNEL(forward_rows,                                                               \
                  (Kind kind, const T* x, T* y, int64_t begin, int64_t end, int64_t width),   \
                  (kind, x, y, begin, end, width))                                            \
  COMPRESS_KERNEL(                                                                            \
      backward_rows,                                                                          \
      (Kind kind, const T* x, const T* dy, T* dx, int64_t begin, int64_t end, int64_t width), \
      (kind, x, dy, dx, begin, end, width))
COMPRESS_GATED(float)
COMPRESS_GATED(BFloat16)

int64_t rows_a_task(int64_t width) {
  return std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(1, width));
}

// Contiguous.
Tensor gated_forward(const Tensor& x, Kind kind) {
  const int64_t width = x.size(1) / 2;
  Tensor y = torch::empty({x.size(0), width}, x.options().requires_grad(false));
  simd::dispatch(x.scalar_type(), [&](auto sample) {
    using T = decltype(sample);
    at::parallel_for(0, x.size(0), rows_a_task(width), [&](int64_t begin, int64_t end) {
      forward_rows(kind, x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), begin, end, width);
    });
  });
  return y;
}

class GatedFunction : public torch::autograd::Function<GatedFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& input, Kind kind) {
    const Tensor x = input.contiguous();
    context->save_for_backward({x});
    context->saved_data["kind"] = static_cast<int64_t>(kind);
    return gated_forward(x, kind);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const Tensor x = context->get_saved_variables()[0];
    const auto kind = static_cast<Kind>(context->saved_data["kind"].toInt());
    const Tensor dy = gradients[0].to(x.scalar_type()).contiguous();
    Tensor dx = torch::empty_like(x);
    const int64_t width = dy.size(1);
    simd::dispatch(x.scalar_type(), [&](auto sample) {
      using T = decltype(sample);
      at::parallel_for(0, x.size(0), rows_a_task(width), [&](int64_t begin, int64_t end) {
        backward_rows(kind, x.const_data_ptr<T>(), dy.const_data_ptr<T>(), dx.mutable_data_ptr<T>(),
                      begin, end, width);
      });
    });
    return {dx, Tensor()};
  }
};

}  // namespace

torch::Tensor gated(const torch::Tensor& x, const std::string& name) {
  const Kind kind = kind_of(name);
  const torch::ScalarType type = x.scalar_type();
  if (!x.is_cpu() || x.dim() != 2 || (type != torch::kFloat32 && type != torch::kBFloat16)) {
    const std::vector<Tensor> halves = x.chunk(2, -1);
    return activation(halves[0], name) * halves[1];
  }
  if (!torch::GradMode::is_enabled() || !x.requires_grad())
    return gated_forward(x.contiguous(), kind);
  return GatedFunction::apply(x, kind);
}

}  // namespace compress::nn
