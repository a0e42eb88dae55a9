# The snippets of the documentation are compiled and run as they stand there, and its links lead somewhere.
add_executable(readme_files readme/make_files.cpp)
target_link_libraries(readme_files PRIVATE maa::compiled maa_warnings)
target_compile_options(readme_files PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)

set(folder ${CMAKE_CURRENT_BINARY_DIR}/readme_run)
file(MAKE_DIRECTORY ${folder})
add_test(NAME readme.files COMMAND readme_files WORKING_DIRECTORY ${folder})
set_tests_properties(readme.files PROPERTIES FIXTURES_SETUP readme_files)

find_package(Python3 COMPONENTS Interpreter)
set(check_page ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/readme/check.py)
set(programs ${PROJECT_SOURCE_DIR}/examples/ten_lines)
add_test(NAME readme.text COMMAND ${check_page} README.md ${programs}/main.cpp ${programs}/train.cpp WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
file(GLOB pages RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
foreach(page IN LISTS pages ITEMS HACKING.md examples/python/README.md)
  cmake_path(GET page STEM name)
  set(sources)
  set(snippet)
  if(name STREQUAL "cuda")
    set(sources ${programs}/cuda.cpp)
  elseif(name STREQUAL "formats")
    set(snippet --python ${folder})
  endif()
  add_test(NAME docs.${name} COMMAND ${check_page} ${snippet} ${page} ${sources} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endforeach()
set_tests_properties(docs.formats PROPERTIES FIXTURES_SETUP readme_snippet)
if(TARGET maa_reference)
  add_test(NAME docs.reference COMMAND ${maa_reference_command} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
else()
  message(STATUS "maa: no doxygen, the API reference is not checked")
endif()
if(TARGET ten_lines)
  add_test(NAME readme.ten_lines COMMAND ten_lines WORKING_DIRECTORY ${folder})
  set_tests_properties(readme.ten_lines PROPERTIES FIXTURES_REQUIRED readme_files)
endif()
if(TARGET generate)
  add_test(NAME readme.generate COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/generate.sh $<TARGET_FILE:generate>
    WORKING_DIRECTORY ${folder})
  set_tests_properties(readme.generate PROPERTIES FIXTURES_REQUIRED readme_files)
endif()
if(TARGET fit)
  add_test(NAME readme.tools COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/tools.sh $<TARGET_FILE:fit> $<TARGET_FILE:inspect>
    $<TARGET_FILE:generate> WORKING_DIRECTORY ${folder})
  # That of CI has TensorBoard, too.
  set(python ${PROJECT_SOURCE_DIR}/build/onnx/bin/python)
  if(NOT EXISTS ${python})
    set(python ${Python3_EXECUTABLE})
  endif()
  set_tests_properties(readme.tools PROPERTIES FIXTURES_REQUIRED readme_files ENVIRONMENT MAA_TEST_PYTHON=${python})
endif()

# docs/cookbook.md is a program and shell lines; of all pages every block is one that a test knows.
set(cookbook ${CMAKE_CURRENT_BINARY_DIR}/cookbook_run)
file(MAKE_DIRECTORY ${cookbook})
add_custom_command(OUTPUT ${cookbook}/cookbook.cpp
  COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/cookbook.py ${PROJECT_SOURCE_DIR}/docs/cookbook.md
    ${PROJECT_SOURCE_DIR}/README.md ${cookbook}
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/cookbook.py ${PROJECT_SOURCE_DIR}/docs/cookbook.md ${PROJECT_SOURCE_DIR}/README.md VERBATIM)
add_executable(cookbook ${cookbook}/cookbook.cpp)
target_link_libraries(cookbook PRIVATE maa::compiled maa_warnings)
target_compile_options(cookbook PRIVATE -Wno-unused-variable $<$<CONFIG:RelWithDebInfo>:-O1>)
if(TARGET fit)
  add_test(NAME docs.cookbook.run COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cookbook.sh docs/cookbook.md $<TARGET_FILE:cookbook>
    ${CMAKE_CXX_COMPILER} ${cookbook}/cookbook.c $<TARGET_FILE:fit> $<TARGET_FILE:inspect> ${folder}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(docs.cookbook.run PROPERTIES FIXTURES_REQUIRED readme_files ENVIRONMENT TMPDIR=${cookbook})
endif()
set(blocks ${CMAKE_CURRENT_BINARY_DIR}/blocks)
add_test(NAME docs.blocks COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/blocks.py ${blocks} README.md HACKING.md
  ${pages} examples/python/README.md WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(docs.blocks PROPERTIES FIXTURES_SETUP readme_blocks)
if(MAA_INSTALL)
  add_test(NAME docs.cmake COMMAND ${CMAKE_COMMAND} -Dblocks=${blocks} -Dprefix=${consumers}/prefix
    -Dgenerator=${CMAKE_GENERATOR} -Dcompiler=${CMAKE_CXX_COMPILER} -Dcuda=$<TARGET_EXISTS:maa::cuda>
    -P ${CMAKE_CURRENT_LIST_DIR}/blocks.cmake)
  set_tests_properties(docs.cmake PROPERTIES FIXTURES_REQUIRED "installed;readme_blocks")
endif()

# Python blocks of docs/formats.md: a data set, and a policy in PyTorch. By the first Python that has what they import.
function(maa_python_snippet name packages where file)
  foreach(python IN ITEMS ${PROJECT_SOURCE_DIR}/build/onnx/bin/python ${Python3_EXECUTABLE})
    execute_process(COMMAND ${python} -c "import ${packages}" RESULT_VARIABLE missing OUTPUT_QUIET ERROR_QUIET)
    if(missing EQUAL 0)
      file(MAKE_DIRECTORY ${where})
      add_test(NAME docs.python.${name} COMMAND ${python} ${folder}/${file} WORKING_DIRECTORY ${where})
      set_tests_properties(docs.python.${name} PROPERTIES FIXTURES_REQUIRED "readme_files;readme_snippet"
        FIXTURES_SETUP python_${name})
      return()
    endif()
  endforeach()
  message(STATUS "maa: no Python has all of ${packages}, the snippet ${name} of docs/formats.md is not run")
endfunction()
maa_python_snippet(dataset "numpy, safetensors.numpy" ${folder}/dataset snippet_1.py)
maa_python_snippet(policy "torch, safetensors.torch" ${folder} snippet_2.py)
if(TEST docs.python.dataset AND TARGET inspect)
  add_test(NAME docs.python.dataset.read COMMAND inspect ${folder}/dataset/dataset.safetensors)
  set_tests_properties(docs.python.dataset.read PROPERTIES FIXTURES_REQUIRED python_dataset
    PASS_REGULAR_EXPRESSION "push: 1 policies, 2 trajectories")
endif()
