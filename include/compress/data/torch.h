#pragma once
// The parts of LibTorch that this program uses: tensors, operators, autograd. <torch/torch.h> would
// add the module, optimizer and data-loader API, which doubles the time to compile every file.

#include <torch/autograd.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>
