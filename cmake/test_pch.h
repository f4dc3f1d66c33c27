#pragma once
#include "torch_pch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
