# Target `maa::libzip`. libzip's own CMake package is for a static library alone, which needs others behind it: Debian's
# package (of a shared one) stops with an error unless the command-line tools are installed too.
include(FindPackageHandleStandardArgs)
find_path(MaaLibzip_INCLUDE_DIR NAMES zip.h)
find_library(MaaLibzip_LIBRARY NAMES zip)
mark_as_advanced(MaaLibzip_INCLUDE_DIR MaaLibzip_LIBRARY)
find_package_handle_standard_args(MaaLibzip
  REQUIRED_VARS MaaLibzip_LIBRARY MaaLibzip_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "libzip is missing (Debian: libzip-dev)")
if(MaaLibzip_FOUND AND NOT TARGET maa::libzip)
  cmake_path(GET MaaLibzip_LIBRARY EXTENSION LAST_ONLY maa_libzip_kind)
  if(maa_libzip_kind STREQUAL CMAKE_STATIC_LIBRARY_SUFFIX AND NOT TARGET libzip::zip)
    find_package(libzip CONFIG QUIET)
  endif()
  if(TARGET libzip::zip)
    add_library(maa::libzip INTERFACE IMPORTED)
    target_link_libraries(maa::libzip INTERFACE libzip::zip)
  else()
    add_library(maa::libzip UNKNOWN IMPORTED)
    set_target_properties(maa::libzip PROPERTIES IMPORTED_LOCATION ${MaaLibzip_LIBRARY})
    target_include_directories(maa::libzip INTERFACE ${MaaLibzip_INCLUDE_DIR})
  endif()
endif()
