# Finds MuJoCo (C library, 2.2 or newer) and defines the imported target MuJoCo::MuJoCo.
#
# Looks for Debian's libmujoco-dev, or wherever CMake looks. -DMAA_MUJOCO_ROOT=<folder> names another copy: a release
# from MuJoCo's site (include/, lib/), or the folder `mujoco` of the PyPI wheel (include/, libmujoco.so.3.x), which is
# the library that Python uses. Sets MuJoCo_FOUND, MuJoCo_VERSION, MuJoCo_INCLUDE_DIR, MuJoCo_LIBRARY.

set(MAA_MUJOCO_ROOT "" CACHE PATH "Folder of a MuJoCo release or of the PyPI wheel's package; empty: the system's")

# Another root makes what was found before stale.
if(NOT "${MAA_MUJOCO_ROOT}" STREQUAL "${MuJoCo_FOUND_ROOT}")
  unset(MuJoCo_INCLUDE_DIR CACHE)
  unset(MuJoCo_LIBRARY CACHE)
endif()
set(MuJoCo_FOUND_ROOT "${MAA_MUJOCO_ROOT}" CACHE INTERNAL "MAA_MUJOCO_ROOT of the last search")

if(MAA_MUJOCO_ROOT)
  find_path(MuJoCo_INCLUDE_DIR mujoco/mujoco.h PATHS "${MAA_MUJOCO_ROOT}/include" NO_DEFAULT_PATH)
  # The wheel has the library under its versioned name only, beside include/.
  file(GLOB MuJoCo_candidates "${MAA_MUJOCO_ROOT}/libmujoco.so*" "${MAA_MUJOCO_ROOT}/lib/libmujoco.so*"
       "${MAA_MUJOCO_ROOT}/libmujoco*.dylib" "${MAA_MUJOCO_ROOT}/lib/libmujoco*.dylib")
  if(MuJoCo_candidates)
    list(GET MuJoCo_candidates 0 MuJoCo_candidate)
    set(MuJoCo_LIBRARY "${MuJoCo_candidate}" CACHE FILEPATH "MuJoCo's library")
  endif()
else()
  find_path(MuJoCo_INCLUDE_DIR mujoco/mujoco.h)
  find_library(MuJoCo_LIBRARY mujoco)
endif()

if(MuJoCo_INCLUDE_DIR)
  foreach(header mujoco.h mjmodel.h)
    if(EXISTS "${MuJoCo_INCLUDE_DIR}/mujoco/${header}")
      file(STRINGS "${MuJoCo_INCLUDE_DIR}/mujoco/${header}" MuJoCo_line REGEX "^#define mjVERSION_HEADER +[0-9]+")
      if(MuJoCo_line MATCHES "([0-9])([0-9])([0-9])")  # 330 is 3.3.0
        set(MuJoCo_VERSION "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")
      endif()
    endif()
  endforeach()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MuJoCo REQUIRED_VARS MuJoCo_LIBRARY MuJoCo_INCLUDE_DIR
                                  VERSION_VAR MuJoCo_VERSION)
mark_as_advanced(MuJoCo_INCLUDE_DIR MuJoCo_LIBRARY)

if(MuJoCo_FOUND AND NOT TARGET MuJoCo::MuJoCo)
  add_library(MuJoCo::MuJoCo SHARED IMPORTED)
  set_target_properties(MuJoCo::MuJoCo PROPERTIES
    IMPORTED_LOCATION "${MuJoCo_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MuJoCo_INCLUDE_DIR}")
endif()
