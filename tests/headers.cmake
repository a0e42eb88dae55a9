# Every header compiles alone, and all of them, also when included twice, in two translation units of one program, of
# which one takes the bodies from maa::compiled. Unoptimised: only whether they compile and link is asked.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
  ${PROJECT_SOURCE_DIR}/include/maa/*.hpp)
# These need the CUDA toolkit.
if(NOT TARGET maa::cuda)
  list(REMOVE_ITEM headers maa/cuda.hpp maa/backend/cuda/cuda_driver.hpp maa/backend/cuda/compile.hpp)
endif()
find_path(maa_protozero protozero/pbf_builder.hpp)
mark_as_advanced(maa_protozero)
if(NOT maa_protozero)
  list(REMOVE_ITEM headers maa/io/onnx.hpp)
endif()
set(units)
set(all_headers)
set(leading)
foreach(header IN LISTS headers)
  string(APPEND all_headers "#include <${header}>\n")
  file(STRINGS ${PROJECT_SOURCE_DIR}/include/${header} directives REGEX "^ *#" LIMIT_COUNT 2)
  if(NOT directives MATCHES "^#pragma once")
    message(FATAL_ERROR "maa: expected ${header} to begin with #pragma once")
  elseif(directives MATCHES ";#include <(maa/[^>]*)>")
    list(APPEND leading ${CMAKE_MATCH_1})
  endif()
endforeach()
# What another one includes before all else is compiled alone as that one's beginning.
list(REMOVE_ITEM headers ${leading})
foreach(header IN LISTS headers)
  string(REGEX REPLACE "[/.]" "_" unit ${header})
  set(unit ${CMAKE_CURRENT_BINARY_DIR}/headers/${unit}.cpp)
  file(GENERATE OUTPUT ${unit} CONTENT "#include <${header}>\n")
  list(APPEND units ${unit})
endforeach()
add_library(maa_headers OBJECT ${units})

set(first ${CMAKE_CURRENT_BINARY_DIR}/headers/first_unit.cpp)
set(second ${CMAKE_CURRENT_BINARY_DIR}/headers/second_unit.cpp)
file(GENERATE OUTPUT ${first} CONTENT "${all_headers}${all_headers}int second();\nint main() { return second(); }\n")
file(GENERATE OUTPUT ${second} CONTENT "${all_headers}int second();\nint second() { return 0; }\n")
add_executable(two_units ${first} ${second})
add_test(NAME two_units COMMAND two_units)
set_source_files_properties(${second} PROPERTIES COMPILE_DEFINITIONS MAA_COMPILED)
target_link_libraries(two_units PRIVATE $<TARGET_FILE:maa_compiled>)
add_dependencies(two_units maa_compiled)

foreach(target IN ITEMS maa_headers two_units)
  target_link_libraries(${target} PRIVATE maa::maa maa_warnings $<TARGET_NAME_IF_EXISTS:maa::cuda>)
  target_compile_options(${target} PRIVATE -O0 -g0)
endforeach()

# A program without optimisation is told so, by a note that is no warning.
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/headers/unoptimized.cpp CONTENT "#include <maa/generator.hpp>\n")
add_test(NAME headers.unoptimized COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only -Wall -Wextra -Werror
  -I$<JOIN:$<TARGET_PROPERTY:two_units,INCLUDE_DIRECTORIES>,$<SEMICOLON>-I>
  ${CMAKE_CURRENT_BINARY_DIR}/headers/unoptimized.cpp COMMAND_EXPAND_LISTS)
set_tests_properties(headers.unoptimized PROPERTIES PASS_REGULAR_EXPRESSION "without optimisation"
  FAIL_REGULAR_EXPRESSION "error")

# What other compilers, strict warnings and other people's macros make of all headers and of a program that trains:
# complex.h's I, Qt's emit, slots and signals, X11's (but for Success, which Eigen does not bear).
set(include_directories
  "$<FILTER:$<TARGET_PROPERTY:two_units,INCLUDE_DIRECTORIES>,EXCLUDE,^(${PROJECT_SOURCE_DIR}|/usr)/include$>")
set(program ${CMAKE_CURRENT_SOURCE_DIR}/compiled/small_program.cpp)
function(maa_syntax name compiler)
  find_program(maa_${compiler} ${compiler})
  mark_as_advanced(maa_${compiler})
  if(maa_${compiler})
    add_test(NAME headers.${name} COMMAND ${maa_${compiler}} -O1 -fsyntax-only -Wall -Wextra -Werror ${ARGN}
      -I${PROJECT_SOURCE_DIR}/include -isystem$<JOIN:${include_directories},$<SEMICOLON>-isystem> ${first} ${program}
      COMMAND_EXPAND_LISTS)
  else()
    message(STATUS "maa: no ${compiler}, test headers.${name} is left out")
  endif()
endfunction()
foreach(compiler IN ITEMS g++ clang++ clang++-16 clang++-19)
  maa_syntax(${compiler} ${compiler} -std=c++20 -Wpedantic -Wconversion -Wsign-conversion -Wundef -Wdouble-promotion
    -Wold-style-cast -Wcast-qual -Wformat=2 -Wnon-virtual-dtor -Woverloaded-virtual)
endforeach()
maa_syntax(macros g++ -std=gnu++20 -include complex.h -Demit= -Dslots= -Dsignals=public -DBool=int -DStatus=int -DNone=0L
  -DTrue=1 -DFalse=0 -DAlways=2)

# A compiler that is too old is told so.
find_program(maa_g++-11 g++-11)
mark_as_advanced(maa_g++-11)
if(maa_g++-11)
  add_test(NAME headers.too_old COMMAND ${maa_g++-11} -std=c++20 -fsyntax-only -I${PROJECT_SOURCE_DIR}/include
    ${PROJECT_SOURCE_DIR}/include/maa/policy.hpp)
else()  # or a newer one that says it is an old one
  add_test(NAME headers.too_old COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only -U__GNUC__ -D__GNUC__=11
    -U__clang_major__ -D__clang_major__=13 -I${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/maa/core/config.hpp)
endif()
set_tests_properties(headers.too_old PROPERTIES PASS_REGULAR_EXPRESSION "maa needs g[+][+] 12 or clang 14")
