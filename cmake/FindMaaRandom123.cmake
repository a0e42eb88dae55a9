# Target `maa::random123`. Random123 is headers only and ships no CMake package.
include(FindPackageHandleStandardArgs)
find_path(MaaRandom123_INCLUDE_DIR NAMES Random123/philox.h)
mark_as_advanced(MaaRandom123_INCLUDE_DIR)
find_package_handle_standard_args(MaaRandom123
  REQUIRED_VARS MaaRandom123_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "Random123 is missing (Debian: librandom123-dev)")
if(MaaRandom123_FOUND AND NOT TARGET maa::random123)
  add_library(maa::random123 INTERFACE IMPORTED)
  target_include_directories(maa::random123 INTERFACE ${MaaRandom123_INCLUDE_DIR})
endif()
