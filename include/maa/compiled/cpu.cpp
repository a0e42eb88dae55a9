// A part of the library maa::compiled: see MAA_BODIES in core/config.hpp. The CPU backend's ops.
#include <maa/core/parallel.hpp>
#include <maa/core/rng.hpp>
#include <maa/kernels/bf16.hpp>
#include <maa/kernels/norm_table.hpp>
#include <maa/kernels/policy_batch.hpp>
#include <maa/kernels/system_table.hpp>

#undef MAA_BODIES
#define MAA_BODIES 1
#include <maa/backend/cpu.hpp>
