// What a loader does about what it does not read.
#pragma once

#include <maa/core/config.hpp>

MAA_NAMESPACE_BEGIN

// Tensors of a file that its loader has no use for: another layer or a normaliser, left out, makes a policy
// that acts differently; a misspelt optional tensor is as good as none.
enum class Unread { refuse, allow };

MAA_NAMESPACE_END
