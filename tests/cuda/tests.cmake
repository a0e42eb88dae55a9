# Tests of the CUDA backend that need the toolkit, or parts of it, but no device. What is missing is reported as skipped.
set(cuda_headers ${PROJECT_SOURCE_DIR}/include/maa/backend/cuda)

function(maa_skipped_test name reason)
  add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E echo "skipped: ${reason}")
  set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped: ")
endfunction()

# The text that NVRTC compiles is that of the kernels.
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_Interpreter_FOUND)
  add_test(NAME cuda.kernels_text
    COMMAND Python3::Interpreter -B ${PROJECT_SOURCE_DIR}/cmake/embed_kernels.py --check)
else()
  maa_skipped_test(cuda.kernels_text "no Python 3")
endif()

foreach(name IN ITEMS compile open)
  if(TARGET maa::cuda)
    add_executable(cuda_${name} cuda/${name}_test.cpp)
    target_link_libraries(cuda_${name} PRIVATE maa::compiled maa::cuda maa_warnings doctest::doctest maa_test_main)
    target_compile_definitions(cuda_${name} PRIVATE MAA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/fixtures")
    target_compile_options(cuda_${name} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
    add_test(NAME cuda.${name} COMMAND cuda_${name})
  else()
    maa_skipped_test(cuda.${name} "no CUDA toolkit")
  endif()
endforeach()

# The driver against its libraries' functions written for the host: only the toolkit's headers and NVRTC are used.
if(TARGET maa::cuda)
  add_executable(cuda_driver cuda/driver_test.cpp cuda/fake_cuda.cpp)
  target_include_directories(cuda_driver SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(cuda_driver PRIVATE maa::compiled CUDA::nvrtc maa_warnings doctest::doctest maa_test_main)
  target_compile_definitions(cuda_driver PRIVATE MAA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/fixtures")
  target_compile_options(cuda_driver PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
  add_test(NAME cuda.driver COMMAND cuda_driver)
else()
  maa_skipped_test(cuda.driver "no CUDA toolkit")
endif()

# What on_device.sh repeats, and runs under compute-sanitizer; on the emulated device it is a test of itself.
if(TARGET maa::cuda)
  add_executable(cuda_small_program cuda/small_program.cpp)
  target_link_libraries(cuda_small_program PRIVATE maa::compiled maa::cuda maa_warnings)
  target_compile_definitions(cuda_small_program PRIVATE MAA_TEST_CUDA=1)
  target_compile_options(cuda_small_program PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
  add_test(NAME cuda.small_program COMMAND cuda_small_program)
  add_test(NAME cuda.small_program.device COMMAND cuda_small_program --device)
  set_tests_properties(cuda.small_program.device PROPERTIES SKIP_RETURN_CODE 77 RESOURCE_LOCK device LABELS device)
endif()

# An installed copy, with the component cuda.
if(TARGET maa::cuda AND MAA_INSTALL)
  add_test(NAME cuda.consumer COMMAND ${CMAKE_CTEST_COMMAND}
    --build-and-test ${CMAKE_CURRENT_LIST_DIR}/consumer ${consumers}/cuda
    --build-generator ${CMAKE_GENERATOR} --build-noclean
    --build-options -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_PREFIX_PATH=${consumers}/prefix
      -DCUDAToolkit_ROOT=${CUDAToolkit_ROOT}
    --test-command ${consumers}/cuda/consumer)
  set_tests_properties(cuda.consumer PROPERTIES FIXTURES_REQUIRED installed)
endif()

# Kernels compiled ahead of time.
find_program(maa_nvcc nvcc HINTS ${CUDAToolkit_BIN_DIR} /usr/local/cuda/bin)
mark_as_advanced(maa_nvcc)
foreach(architecture IN ITEMS 80 90 120)
  set(name cuda.nvcc.sm_${architecture})
  if(maa_nvcc)
    add_test(NAME ${name} COMMAND ${maa_nvcc} -x cu -std=c++17 -arch=sm_${architecture} -cubin -Werror all-warnings
      -ccbin ${CMAKE_CXX_COMPILER} -o ${CMAKE_CURRENT_BINARY_DIR}/kernels_sm_${architecture}.cubin
      ${cuda_headers}/kernels.cuh)
  else()
    maa_skipped_test(${name} "no nvcc")
  endif()
endforeach()

# Kernels, ops and the list of commands on the emulated device, under sanitizers; the CPU's ops, which they are compared
# with, are the library's (the preset asan has them, too).
set(sanitized)
foreach(part IN ITEMS context elementwise failures losses norm policy_batch products ridge rows)
  list(APPEND sanitized cuda_${part}_test.cpp)
endforeach()
add_executable(cuda_sanitized ${sanitized})
target_link_libraries(cuda_sanitized PRIVATE maa::compiled maa_warnings doctest::doctest maa_test_main)
target_compile_definitions(cuda_sanitized PRIVATE MAA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/fixtures")
target_compile_options(cuda_sanitized PRIVATE -O0 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all)
target_link_options(cuda_sanitized PRIVATE -fsanitize=address,undefined)
add_test(NAME cuda.sanitized COMMAND cuda_sanitized)
