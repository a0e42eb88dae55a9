# An overlay port of the checkout that it lies in:
#   vcpkg install --editable maa "libzip[core]" --overlay-ports=cmake/packaging/vcpkg
# --editable: vcpkg's binary cache knows the port's files alone, and would bring back the build of an older checkout.
# libzip[core]: a port cannot turn the default features of another off (OpenSSL); only who installs it can.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../../.." ABSOLUTE)
vcpkg_check_linkage(ONLY_STATIC_LIBRARY)
vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS -DMAA_BUILD_TESTS=OFF -DMAA_BUILD_EXAMPLES=OFF -DMAA_BUILD_BENCHMARKS=OFF -DMAA_CUDA=OFF -DMAA_INSTALL=ON
    -DMAA_COMPILED_LIBRARY=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME maa CONFIG_PATH lib/cmake/maa)
# vcpkg's xtensor has no pkg-config file; its headers lie beside maa's.
file(GLOB pc_files "${CURRENT_PACKAGES_DIR}/share/pkgconfig/maa.pc" "${CURRENT_PACKAGES_DIR}/debug/share/pkgconfig/maa.pc")
foreach(pc_file IN LISTS pc_files)
  vcpkg_replace_string("${pc_file}" " xtensor " " ")
endforeach()
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share"
  "${CURRENT_PACKAGES_DIR}/share/doc")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/maa")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
