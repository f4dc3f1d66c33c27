#pragma once
// The parts of LibTorch that this program uses: tensors, operators, autograd functions. What else
// <torch/torch.h>, <torch/autograd.h> and <torch/utils.h> bring (modules, optimizers, the profiler)
// costs time in every file: templates that a header's inline functions name are made in each.

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/version.h>
