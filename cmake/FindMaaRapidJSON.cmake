# Target `maa::rapidjson`. RapidJSON is headers only; not all its packages ship one for CMake.
include(FindPackageHandleStandardArgs)
find_path(MaaRapidJSON_INCLUDE_DIR NAMES rapidjson/reader.h)
mark_as_advanced(MaaRapidJSON_INCLUDE_DIR)
find_package_handle_standard_args(MaaRapidJSON
  REQUIRED_VARS MaaRapidJSON_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "RapidJSON is missing (Debian: rapidjson-dev)")
if(MaaRapidJSON_FOUND AND NOT TARGET maa::rapidjson)
  add_library(maa::rapidjson INTERFACE IMPORTED)
  target_include_directories(maa::rapidjson INTERFACE ${MaaRapidJSON_INCLUDE_DIR})
endif()
