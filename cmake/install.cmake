# Install rules. Nothing depends on the processor, so the package lies under share/.
include(CMakePackageConfigHelpers)
set(maa_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/maa)

install(DIRECTORY include/maa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(TARGETS maa EXPORT maa-targets)
install(EXPORT maa-targets NAMESPACE maa:: DESTINATION ${maa_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/maa-config-version.cmake
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/maa-config-version.cmake
  cmake/maa-config.cmake cmake/maa-dependencies.cmake
  cmake/FindMaaXtensor.cmake cmake/FindMaaRandom123.cmake cmake/FindMaaLibzip.cmake
  DESTINATION ${maa_package_dir})
