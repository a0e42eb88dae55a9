# The README's snippets are compiled and run as they stand there.
add_executable(readme_files readme/make_files.cpp)
target_link_libraries(readme_files PRIVATE maa::compiled maa_warnings)

set(folder ${CMAKE_CURRENT_BINARY_DIR}/readme_run)
file(MAKE_DIRECTORY ${folder})
add_test(NAME readme.files COMMAND readme_files WORKING_DIRECTORY ${folder})
set_tests_properties(readme.files PROPERTIES FIXTURES_SETUP readme_files)

find_package(Python3 COMPONENTS Interpreter)
add_test(NAME readme.text COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/readme/check.py
  ${PROJECT_SOURCE_DIR}/README.md ${folder}/snippet.py
  ${PROJECT_SOURCE_DIR}/examples/ten_lines/main.cpp ${PROJECT_SOURCE_DIR}/examples/ten_lines/train.cpp
  ${PROJECT_SOURCE_DIR}/examples/ten_lines/cuda.cpp)
set_tests_properties(readme.text PROPERTIES FIXTURES_SETUP readme_snippet)
if(TARGET ten_lines)
  add_test(NAME readme.ten_lines COMMAND ten_lines WORKING_DIRECTORY ${folder})
  set_tests_properties(readme.ten_lines PROPERTIES FIXTURES_REQUIRED readme_files)
endif()
execute_process(COMMAND ${Python3_EXECUTABLE} -c "import torch, safetensors" RESULT_VARIABLE no_torch
  OUTPUT_QUIET ERROR_QUIET)
if(no_torch EQUAL 0)
  add_test(NAME readme.python COMMAND ${Python3_EXECUTABLE} snippet.py WORKING_DIRECTORY ${folder})
  set_tests_properties(readme.python PROPERTIES FIXTURES_REQUIRED "readme_files;readme_snippet")
else()
  message(STATUS "maa: no PyTorch, the README's Python snippet is not run")
endif()
