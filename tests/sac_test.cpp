#include <doctest/doctest.h>
#include "sac.hpp"
