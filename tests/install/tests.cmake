# What a user of an installed copy gets: examples/embed_in_your_code, built with each compiler found against a copy
# installed to a temporary prefix, and against the sources through FetchContent; and no flag that they did not ask for.
set(consumers ${CMAKE_CURRENT_BINARY_DIR}/consumers)
set(embed ${PROJECT_SOURCE_DIR}/examples/embed_in_your_code)

if(MAA_INSTALL)
  add_test(NAME install.clean COMMAND ${CMAKE_COMMAND} -E rm -rf ${consumers})
  set_tests_properties(install.clean PROPERTIES FIXTURES_SETUP clean)
  add_test(NAME install COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${consumers}/prefix)
  set_tests_properties(install PROPERTIES FIXTURES_REQUIRED clean FIXTURES_SETUP installed)

  set(libraries maa)
  if(MAA_COMPILED_LIBRARY)
    list(APPEND libraries compiled)
  endif()
  foreach(compiler IN ITEMS g++ clang++)
    find_program(maa_${compiler} ${compiler})
    mark_as_advanced(maa_${compiler})
    if(NOT maa_${compiler})
      message(STATUS "maa: no ${compiler}, its consumer test is left out")
      continue()
    endif()
    foreach(library IN LISTS libraries)
      set(consumer consumer.${compiler}.${library})
      add_test(NAME ${consumer} COMMAND ${CMAKE_CTEST_COMMAND}
        --build-and-test ${embed} ${consumers}/${consumer}
        --build-generator ${CMAKE_GENERATOR} --build-noclean
        --build-options -DCMAKE_CXX_COMPILER=${maa_${compiler}} -DCMAKE_PREFIX_PATH=${consumers}/prefix
          -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DMAA_LIBRARY=${library}
        --test-command ${consumers}/${consumer}/embed)
      add_test(NAME ${consumer}.flags COMMAND ${CMAKE_COMMAND}
        -Dcommands=${consumers}/${consumer}/compile_commands.json -Dpackage=${consumers}/prefix
        -P ${CMAKE_CURRENT_LIST_DIR}/check_flags.cmake)
      set_tests_properties(${consumer} PROPERTIES FIXTURES_REQUIRED installed FIXTURES_SETUP ${consumer})
      set_tests_properties(${consumer}.flags PROPERTIES FIXTURES_REQUIRED "installed;${consumer}")
    endforeach()
  endforeach()

  # For those who run policies: no other library, exceptions or run-time types.
  add_test(NAME consumer.policy COMMAND ${CMAKE_CTEST_COMMAND}
    --build-and-test ${CMAKE_CURRENT_LIST_DIR}/policy_only ${consumers}/policy
    --build-generator ${CMAKE_GENERATOR} --build-noclean
    --build-options -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_PREFIX_PATH=${consumers}/prefix
    --test-command ${consumers}/policy/policy_only)
  set_tests_properties(consumer.policy PROPERTIES FIXTURES_REQUIRED installed)

  find_program(maa_dpkg_deb dpkg-deb)
  mark_as_advanced(maa_dpkg_deb)
  if(maa_dpkg_deb)
    add_test(NAME consumer.deb COMMAND ${CMAKE_COMMAND} -Dcpack=${CMAKE_CPACK_COMMAND} -Dbuild=${PROJECT_BINARY_DIR}
      -Dversion=${PROJECT_VERSION} -Dfolder=${consumers}/deb -Dgenerator=${CMAKE_GENERATOR}
      -Dcompiler=${CMAKE_CXX_COMPILER} -Dconsumer=${CMAKE_CURRENT_LIST_DIR}/policy_only
      -P ${CMAKE_CURRENT_LIST_DIR}/deb.cmake)
    set_tests_properties(consumer.deb PROPERTIES FIXTURES_REQUIRED clean)
  endif()

  find_program(maa_pkg_config pkg-config)
  mark_as_advanced(maa_pkg_config)
  if(maa_pkg_config)
    set(names maa-policy maa)
    if(MAA_COMPILED_LIBRARY)
      list(APPEND names maa-compiled)
    endif()
    add_test(NAME consumer.pkg_config COMMAND ${CMAKE_COMMAND} -Dcompiler=${CMAKE_CXX_COMPILER}
      -Dpackage=${consumers}/prefix -Dfolder=${consumers}/pkg_config -Dembed=${embed}/main.cpp "-Dnames=${names}"
      -P ${CMAKE_CURRENT_LIST_DIR}/pkg_config.cmake)
    set_tests_properties(consumer.pkg_config PROPERTIES FIXTURES_REQUIRED installed)
  endif()

  # A parent with targets of its own and an export that links maa: maa installed beside it, or elsewhere.
  foreach(install IN ITEMS ON OFF)
    add_test(NAME consumer.parent.${install} COMMAND ${CMAKE_COMMAND} -Dfolder=${consumers}/parent_${install}
      -Dgenerator=${CMAKE_GENERATOR} -Dcompiler=${CMAKE_CXX_COMPILER} -Dmaa_source=${PROJECT_SOURCE_DIR}
      -Dinstall=${install} -Dpackage=${consumers}/prefix -P ${CMAKE_CURRENT_LIST_DIR}/parent.cmake)
    set_tests_properties(consumer.parent.${install} PROPERTIES FIXTURES_REQUIRED installed)
  endforeach()
endif()

# By the other compiler, if it is there: it builds the compiled library, too.
set(fetching_compiler ${CMAKE_CXX_COMPILER})
if(maa_clang++)
  set(fetching_compiler ${maa_clang++})
endif()
add_test(NAME consumer.fetch_content COMMAND ${CMAKE_CTEST_COMMAND}
  --build-and-test ${CMAKE_CURRENT_LIST_DIR}/fetch_content ${consumers}/fetch_content
  --build-generator ${CMAKE_GENERATOR} --build-noclean
  --build-options -DCMAKE_CXX_COMPILER=${fetching_compiler} -Dmaa_source=${PROJECT_SOURCE_DIR}
  --test-command ${consumers}/fetch_content/fetched_compiled ${consumers}/fetch_content)

add_test(NAME consumer.policy_only COMMAND ${CMAKE_CTEST_COMMAND}
  --build-and-test ${CMAKE_CURRENT_LIST_DIR}/policy_only ${consumers}/policy_only
  --build-generator ${CMAKE_GENERATOR} --build-noclean
  --build-options -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -Dmaa_source=${PROJECT_SOURCE_DIR}
  --test-command ${consumers}/policy_only/policy_only)

find_package(Python3 COMPONENTS Interpreter)
add_test(NAME consumer.recipes COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/recipes.py ${PROJECT_VERSION}
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})

# Without what only tests, examples and benchmarks need, there is a build of the rest.
set(without)
foreach(package IN ITEMS CLI11 doctest nlohmann_json benchmark MuJoCo)
  list(APPEND without -DCMAKE_DISABLE_FIND_PACKAGE_${package}=ON)
endforeach()
add_test(NAME consumer.configure_alone COMMAND ${CMAKE_COMMAND} -S ${PROJECT_SOURCE_DIR} -B ${consumers}/alone
  -G ${CMAKE_GENERATOR} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} ${without})

# policy.hpp under other people's flags and, where cross compilers and QEMU are installed, on other processors.
function(maa_policy_variant name compiler run)
  find_program(maa_${compiler} ${compiler})
  mark_as_advanced(maa_${compiler})
  if(NOT maa_${compiler})
    message(STATUS "maa: no ${compiler}, test policy.${name} is left out")
    return()
  endif()
  if(run)
    list(GET run 0 emulator)
    find_program(maa_${emulator} ${emulator})
    mark_as_advanced(maa_${emulator})
    if(NOT maa_${emulator})
      message(STATUS "maa: no ${emulator}, test policy.${name} is left out")
      return()
    endif()
  endif()
  set(compile ${maa_${compiler}} -std=c++20 -O2 -Werror -I${PROJECT_SOURCE_DIR}/include ${ARGN}
    ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/policy_only/main.cpp)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/policy_variants)
  add_test(NAME policy.${name} COMMAND ${CMAKE_COMMAND} "-Dcompile=${compile}" "-Drun=${run}"
    -Dprogram=${CMAKE_CURRENT_BINARY_DIR}/policy_variants/${name} -P ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/policy_variant.cmake)
endfunction()
set(maa_strict -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion)
foreach(compiler IN ITEMS g++ clang++ clang++-16 clang++-19)
  maa_policy_variant(${compiler}.strict ${compiler} "" ${maa_strict})
  maa_policy_variant(${compiler}.no_exceptions ${compiler} "" ${maa_strict} -fno-exceptions -fno-rtti)
  maa_policy_variant(${compiler}.macros ${compiler} "" -std=gnu++20 -include complex.h -Demit= -Dslots= -Dsignals=public)
  maa_policy_variant(${compiler}.fast_math ${compiler} "" -ffast-math)
  maa_policy_variant(${compiler}.no_simd ${compiler} "" ${maa_strict} -DMAA_NO_SIMD)
endforeach()
foreach(machine IN ITEMS aarch64:aarch64-linux-gnu arm:arm-linux-gnueabihf i386:i686-linux-gnu s390x:s390x-linux-gnu)
  string(REGEX MATCH "(.*):(.*)" machine ${machine})
  maa_policy_variant(${CMAKE_MATCH_1} ${CMAKE_MATCH_2}-g++ "qemu-${CMAKE_MATCH_1};-L;/usr/${CMAKE_MATCH_2}"
    ${maa_strict} -Wno-psabi)
endforeach()
