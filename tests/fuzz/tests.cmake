# Inputs by which faults were found, without a fuzzer; with one (the preset fuzz): bash tests/fuzz/run.sh SECONDS.
option(MAA_FUZZ "Build the fuzz targets: needs clang's libFuzzer and its flags, as the preset fuzz has them" OFF)

add_library(fuzz_targets OBJECT fuzz/targets.cpp fuzz/inputs.cpp)
target_compile_definitions(fuzz_targets PUBLIC MAA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/fixtures"
  DOCTEST_CONFIG_DISABLE)
target_compile_options(fuzz_targets PUBLIC $<$<CONFIG:RelWithDebInfo>:-O1>)
target_link_libraries(fuzz_targets PUBLIC maa_warnings maa::compiled doctest::doctest)

add_executable(fuzz_replay fuzz/replay.cpp)
target_link_libraries(fuzz_replay PRIVATE fuzz_targets)
add_test(NAME fuzz.regressions COMMAND fuzz_replay ${CMAKE_CURRENT_LIST_DIR}/regressions)

if(MAA_FUZZ)
  add_executable(fuzz fuzz/fuzzer.cpp)
  target_link_libraries(fuzz PRIVATE fuzz_targets)
  target_link_options(fuzz PRIVATE -fsanitize=fuzzer)
endif()
