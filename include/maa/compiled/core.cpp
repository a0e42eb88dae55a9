// A part of the library maa::compiled: see MAA_BODIES in core/config.hpp. Errors, descriptions and kernels.
#include <maa/core/config.hpp>

#undef MAA_BODIES
#define MAA_BODIES 1
#include <maa/core/describe.hpp>
#include <maa/core/nearest_names.hpp>
#include <maa/core/options.hpp>
#include <maa/core/parallel.hpp>
#include <maa/kernels/bf16.hpp>
#include <maa/kernels/norm_table.hpp>
#include <maa/kernels/policy_batch.hpp>
#include <maa/kernels/system_table.hpp>
