# Install rules. Without the compiled library nothing depends on the processor, and the package lies under share/.
include(CMakePackageConfigHelpers)
if(MAA_COMPILED_LIBRARY)
  set(maa_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/maa)
  set(maa_architecture)
  install(TARGETS maa_compiled EXPORT maa-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
else()
  set(maa_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/maa)
  set(maa_architecture ARCH_INDEPENDENT)
endif()

install(DIRECTORY include/maa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(TARGETS maa EXPORT maa-targets)
install(EXPORT maa-targets NAMESPACE maa:: DESTINATION ${maa_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/maa-config-version.cmake
  COMPATIBILITY SameMinorVersion ${maa_architecture})
install(FILES ${PROJECT_BINARY_DIR}/maa-config-version.cmake
  cmake/maa-config.cmake cmake/maa-dependencies.cmake
  cmake/FindMaaXtensor.cmake cmake/FindMaaRandom123.cmake cmake/FindMaaRapidJSON.cmake cmake/FindMaaLibzip.cmake
  DESTINATION ${maa_package_dir})
