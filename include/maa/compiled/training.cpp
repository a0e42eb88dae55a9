// A part of the library maa::compiled: see MAA_BODIES in core/config.hpp. Building blocks, sampler and
// trainer.
#include <maa/backend/cpu.hpp>
#include <maa/core/options.hpp>
#include <maa/data/corrective_augmentation.hpp>
#include <maa/data/dataset.hpp>
#include <maa/data/prompt_features.hpp>
#include <maa/io/parameters.hpp>

#undef MAA_BODIES
#define MAA_BODIES 1
#include <maa/compiled/cpu_instances.hpp>
#include <maa/generator/warm_start.hpp>
#include <maa/train/batch_order.hpp>
