// Run a generated policy: everything a control loop needs, without threads, arrays or file formats.
#pragma once

#include <maa/models/policy.hpp>
