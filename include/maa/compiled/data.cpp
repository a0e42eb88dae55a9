// A part of the library maa::compiled: see MAA_BODIES in core/config.hpp. Files, trajectories and data sets.
#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/core/describe.hpp>
#include <maa/core/nearest_names.hpp>
#include <maa/core/options.hpp>

#undef MAA_BODIES
#define MAA_BODIES 1
#include <maa/data/corrective_augmentation.hpp>
#include <maa/data/dataset.hpp>
#include <maa/data/dataset_check.hpp>
#include <maa/data/policy_interface.hpp>
#include <maa/data/prompt_features.hpp>
#include <maa/data/styles.hpp>
#include <maa/data/unit_alignment.hpp>
#include <maa/io/c_header.hpp>
#include <maa/io/npz_archive.hpp>
#include <maa/io/parameters.hpp>
#include <maa/models/policy_shape.hpp>
