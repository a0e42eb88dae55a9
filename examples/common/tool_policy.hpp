// The policy type that the programs fit and generate are built for: `Policy` of the header that CMake's
// MAA_EXAMPLES_POLICY names, or MetaWorld's.
#pragma once

#ifdef MAA_EXAMPLES_POLICY
#include MAA_EXAMPLES_POLICY
#else
#include <maa/policy.hpp>

using Policy = maa::MetaWorldPolicy;
#endif
