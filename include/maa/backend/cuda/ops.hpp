// The CUDA backend with all its ops, without a device: cuda.hpp adds the machine's own.
#pragma once

#include <maa/backend/contract.hpp>
#include <maa/backend/cuda/backend.hpp>
#include <maa/backend/cuda/conv1d.hpp>
#include <maa/backend/cuda/elementwise.hpp>
#include <maa/backend/cuda/embedding.hpp>
#include <maa/backend/cuda/linear.hpp>
#include <maa/backend/cuda/losses.hpp>
#include <maa/backend/cuda/matrix.hpp>
#include <maa/backend/cuda/norm.hpp>
#include <maa/backend/cuda/optimizer.hpp>
#include <maa/backend/cuda/policy_batch.hpp>
#include <maa/backend/cuda/random.hpp>
#include <maa/backend/cuda/ridge.hpp>
#include <maa/backend/cuda/rows.hpp>
#include <maa/backend/cuda/transfer.hpp>

MAA_NAMESPACE_BEGIN

static_assert(contract::Backend<cuda::Backend>);

MAA_NAMESPACE_END
