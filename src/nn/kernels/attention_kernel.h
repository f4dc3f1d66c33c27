#pragma once
// Attention of one row of queries to one row of keys, on the CPU.

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace compress::nn::kernel {

// One head of keys and values, and the `group` heads of queries that share it. Query i lies at key
// (keys - queries) + i.
struct Task {
  int64_t queries = 0, keys = 0, width = 0, group = 1;
  bool causal = false;
  int64_t window = 0;
  float scale = 1;
  uint32_t threshold = 0;  // of dropout; 0 = none
  float keep_scale = 1;
  uint64_t seed = 0, number = 0;  // head g of the group draws from mix64(seed ^ (number + g))
  // Null, or of head g: bias[g * bias_stride + reach + (key - the query's place)], readable for
  // keys up to the next multiple of 16.
  const float* bias = nullptr;
  int64_t bias_stride = 0, reach = 0;
};

// Pointers to the first token; strides count elements from token to token. Heads of the group lie
// side by side.
template <class T>
struct Inputs {
  const T *q, *k, *v;
  int64_t q_stride, kv_stride;
};
template <class T>
struct Gradients {
  const T* d_out;
  int64_t out_stride;
  T *dq, *dk, *dv;
  int64_t dq_stride, dkv_stride;
  float* d_bias;  // as Task::bias, added to; null where none is wanted
};

// Floats of working memory that the functions below need.
int64_t forward_floats(const Task& task);
int64_t backward_floats(const Task& task);
int64_t step_floats(const Task& task);

// Works through blocks of queries; keys that no query of a block sees are left out of its products.
void forward(const Task& task, const Inputs<float>& in, float* out, int64_t out_stride,
             float* memory);
void forward(const Task& task, const Inputs<c10::BFloat16>& in, c10::BFloat16* out,
             int64_t out_stride, float* memory);
void backward(const Task& task, const Inputs<float>& in, const Gradients<float>& gradients,
              float* memory);
void backward(const Task& task, const Inputs<c10::BFloat16>& in,
              const Gradients<c10::BFloat16>& gradients, float* memory);

// What forward() does, to the bit, where every query sees all keys and nothing is added or drawn:
// queries lie side by side in registers, so that no sum of softmax runs across one.
bool sees_all(const Task& task);
int64_t columns_floats(const Task& task);
void in_columns(const Task& task, const Inputs<float>& in, float* out, int64_t out_stride,
                float* memory);
void in_columns(const Task& task, const Inputs<c10::BFloat16>& in, c10::BFloat16* out,
                int64_t out_stride, float* memory);

// The same as forward() for few queries and many keys, which are read once where they lie. Without
// dropout; `width` is a multiple of 16.
void step(const Task& task, const Inputs<float>& in, float* out, int64_t out_stride, float* memory);
void step(const Task& task, const Inputs<c10::BFloat16>& in, c10::BFloat16* out, int64_t out_stride,
          float* memory);

}  // namespace compress::nn::kernel
