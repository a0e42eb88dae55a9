// The CPU backend with all its ops.
#pragma once

#include <maa/backend/contract.hpp>
#include <maa/backend/cpu/backend.hpp>
#include <maa/backend/cpu/conv1d.hpp>
#include <maa/backend/cpu/elementwise.hpp>
#include <maa/backend/cpu/embedding.hpp>
#include <maa/backend/cpu/gemm.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/losses.hpp>
#include <maa/backend/cpu/matrix.hpp>
#include <maa/backend/cpu/norm.hpp>
#include <maa/backend/cpu/optimizer.hpp>
#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/backend/cpu/random.hpp>
#include <maa/backend/cpu/ridge.hpp>
#include <maa/backend/cpu/rows.hpp>
#include <maa/backend/cpu/transfer.hpp>

MAA_NAMESPACE_BEGIN

static_assert(contract::Backend<cpu::Backend> && contract::Backend<cpu::Backend, double>);

MAA_NAMESPACE_END
