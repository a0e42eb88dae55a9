// The small generator's code, for all tests of it.
#define MAA_TEST_TEMPLATE template
#include "small_generator.hpp"
