# Install rules. Without the compiled library nothing depends on the processor, and the package lies under share/.
include(CMakePackageConfigHelpers)
set(maa_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/maa)
set(maa_architecture ARCH_INDEPENDENT)
if(MAA_COMPILED_LIBRARY AND NOT MAA_POLICY_ONLY)
  set(maa_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/maa)
  set(maa_architecture)
  install(TARGETS maa_compiled EXPORT maa-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

install(DIRECTORY include/maa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# Not CMAKE_INSTALL_DOCDIR: below another project that is the other's.
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/maa)
install(TARGETS maa_policy EXPORT maa-policy-targets)
install(EXPORT maa-policy-targets NAMESPACE maa:: DESTINATION ${maa_package_dir})
if(NOT MAA_POLICY_ONLY)
  install(TARGETS maa EXPORT maa-targets)
  install(EXPORT maa-targets NAMESPACE maa:: DESTINATION ${maa_package_dir})
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/maa-config-version.cmake
  COMPATIBILITY SameMinorVersion ${maa_architecture})
install(FILES ${PROJECT_BINARY_DIR}/maa-config-version.cmake
  cmake/maa-config.cmake cmake/maa-dependencies.cmake
  cmake/FindMaaXtensor.cmake cmake/FindMaaRapidJSON.cmake cmake/FindMaaLibzip.cmake
  DESTINATION ${maa_package_dir})

# pkg-config: maa-policy, maa and maa-compiled, each what the target of that name is. Paths are relative to the file.
function(maa_install_pc name folder description requires flags)
  cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}/${folder}/pkgconfig
    OUTPUT_VARIABLE to_prefix)
  file(CONFIGURE OUTPUT ${name}.pc @ONLY CONTENT [[prefix=${pcfiledir}/@to_prefix@
Name: @name@
Description: @description@
Version: @PROJECT_VERSION@
Requires: @requires@
@flags@
]])
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc DESTINATION ${folder}/pkgconfig)
endfunction()
maa_install_pc(maa-policy ${CMAKE_INSTALL_DATADIR} "Run policies that maa generated" ""
  "Cflags: -I\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
if(NOT MAA_POLICY_ONLY)
  maa_install_pc(maa ${CMAKE_INSTALL_DATADIR} "${PROJECT_DESCRIPTION}"
    "maa-policy tbb eigen3 xtensor RapidJSON libzip" "")
  if(MAA_COMPILED_LIBRARY)
    maa_install_pc(maa-compiled ${CMAKE_INSTALL_LIBDIR} "${PROJECT_DESCRIPTION}; less to compile" maa
      "Cflags: -DMAA_COMPILED\nLibs: -L\${prefix}/${CMAKE_INSTALL_LIBDIR} -lmaa_compiled")
  endif()
endif()

if(PROJECT_IS_TOP_LEVEL)
  include(cmake/packaging/cpack.cmake)
endif()
