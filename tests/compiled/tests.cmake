# maa::compiled and the headers alone are one library: the same bits, one program may mix them, and other versions or sets
# of kernels do not link.
foreach(kind IN ITEMS maa compiled)
  add_executable(small_program_${kind} compiled/small_program.cpp)
  target_link_libraries(small_program_${kind} PRIVATE maa::${kind} maa_warnings)
  target_compile_options(small_program_${kind} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
  list(APPEND small_programs $<TARGET_FILE:small_program_${kind}>)
endforeach()
add_test(NAME compiled.same_bits COMMAND ${CMAKE_COMMAND} "-Dprograms=${small_programs}"
  -P ${CMAKE_CURRENT_LIST_DIR}/same_output.cmake)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/compiled/other.cpp
    CONTENT "#include <maa/core/error.hpp>\nint main() { maa::fail(\"other\"); }\n")
  add_test(NAME compiled.other_kernels COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -DMAA_COMPILED -DMAA_NO_SIMD
    -I${PROJECT_SOURCE_DIR}/include ${CMAKE_CURRENT_BINARY_DIR}/compiled/other.cpp $<TARGET_FILE:maa_compiled>
    -o ${CMAKE_CURRENT_BINARY_DIR}/compiled/other)
  set_tests_properties(compiled.other_kernels PROPERTIES PASS_REGULAR_EXPRESSION "undefined[^\n]*_portable_")
endif()
