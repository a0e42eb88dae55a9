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
