# Target `xtensor`: from its CMake package, or from the headers alone where a distribution leaves the package out.
include(FindPackageHandleStandardArgs)
if(NOT TARGET xtensor)
  find_package(xtensor CONFIG QUIET)
endif()
if(TARGET xtensor)
  set(MaaXtensor_FOUND TRUE)
else()
  find_path(MaaXtensor_INCLUDE_DIR NAMES xtensor/xtensor.hpp xtensor/containers/xtensor.hpp)
  find_path(MaaXtensor_XTL_INCLUDE_DIR NAMES xtl/xtl_config.hpp)
  mark_as_advanced(MaaXtensor_INCLUDE_DIR MaaXtensor_XTL_INCLUDE_DIR)
  find_package_handle_standard_args(MaaXtensor
    REQUIRED_VARS MaaXtensor_INCLUDE_DIR MaaXtensor_XTL_INCLUDE_DIR
    REASON_FAILURE_MESSAGE "xtensor is missing (Debian: libxtensor-dev)")
  if(MaaXtensor_FOUND)
    add_library(xtensor INTERFACE IMPORTED)
    target_include_directories(xtensor INTERFACE ${MaaXtensor_INCLUDE_DIR} ${MaaXtensor_XTL_INCLUDE_DIR})
  endif()
endif()
