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
  function(maa_does_not_link name flag tag)
    add_test(NAME compiled.${name} COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -DMAA_COMPILED ${flag}
      -I${PROJECT_SOURCE_DIR}/include ${CMAKE_CURRENT_BINARY_DIR}/compiled/other.cpp $<TARGET_FILE:maa_compiled>
      -o ${CMAKE_CURRENT_BINARY_DIR}/compiled/${name})
    set_tests_properties(compiled.${name} PROPERTIES PASS_REGULAR_EXPRESSION "undefined[^\n]*_${tag}")
  endfunction()
  maa_does_not_link(other_kernels -DMAA_NO_SIMD portable_)
  maa_does_not_link(other_architecture -march=x86-64-v4 x86_avx512_)
  maa_does_not_link(other_errors -fno-exceptions fatal::)
  # Headers alone: units of two architectures share no function.
  add_test(NAME compiled.two_architectures COMMAND ${CMAKE_COMMAND} -Dcompiler=${CMAKE_CXX_COMPILER}
    -Dsource=${PROJECT_SOURCE_DIR}/tests/install/policy_only/main.cpp -Dinclude=${PROJECT_SOURCE_DIR}/include
    -Dfolder=${CMAKE_CURRENT_BINARY_DIR}/compiled -P ${CMAKE_CURRENT_LIST_DIR}/two_architectures.cmake)
endif()
