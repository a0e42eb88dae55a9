// Everything but CUDA.
#pragma once

#include <maa/generator.hpp>
#include <maa/generator/paper_training.hpp>
#include <maa/interop/eigen.hpp>
#include <maa/interop/xtensor.hpp>
#include <maa/io/npz.hpp>
#include <maa/testing/grad_check.hpp>
