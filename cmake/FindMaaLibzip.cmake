# Target `maa::libzip`. libzip's own CMake package cannot be used: Debian's stops with an error unless the command-line
# tools are installed too.
include(FindPackageHandleStandardArgs)
find_path(MaaLibzip_INCLUDE_DIR NAMES zip.h)
find_library(MaaLibzip_LIBRARY NAMES zip)
mark_as_advanced(MaaLibzip_INCLUDE_DIR MaaLibzip_LIBRARY)
find_package_handle_standard_args(MaaLibzip
  REQUIRED_VARS MaaLibzip_LIBRARY MaaLibzip_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "libzip is missing (Debian: libzip-dev)")
if(MaaLibzip_FOUND AND NOT TARGET maa::libzip)
  add_library(maa::libzip UNKNOWN IMPORTED)
  set_target_properties(maa::libzip PROPERTIES IMPORTED_LOCATION ${MaaLibzip_LIBRARY})
  target_include_directories(maa::libzip INTERFACE ${MaaLibzip_INCLUDE_DIR})
endif()
