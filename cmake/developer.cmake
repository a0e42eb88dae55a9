# Settings for maa's own tests, examples and benchmarks; none of them is exported.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

# Linked PRIVATE by every target of ours.
add_library(maa_warnings INTERFACE)
target_compile_options(maa_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror)
target_compile_definitions(maa_warnings INTERFACE MAA_ALLOW_UNOPTIMIZED)
target_compile_options(maa_compiled PRIVATE $<TARGET_PROPERTY:maa_warnings,INTERFACE_COMPILE_OPTIONS>)

# The API reference, in reference/html of the build folder (docs/Doxyfile).
find_program(maa_doxygen doxygen)
mark_as_advanced(maa_doxygen)
if(maa_doxygen)
  set(maa_reference_command ${CMAKE_COMMAND} -E env MAA_VERSION=${PROJECT_VERSION}
    MAA_REFERENCE=${PROJECT_BINARY_DIR}/reference ${maa_doxygen} docs/Doxyfile)
  add_custom_target(maa_reference COMMAND ${maa_reference_command} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
endif()
