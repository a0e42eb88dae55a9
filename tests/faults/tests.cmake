# Kills, system calls and allocations that fail, full disks: all of it by bash tests/faults.sh.
add_executable(faults faults/faults.cpp faults/inject.cpp)
target_compile_definitions(faults PRIVATE MAA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/fixtures" DOCTEST_CONFIG_DISABLE)
target_compile_options(faults PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
target_link_libraries(faults PRIVATE maa_small_generator maa_warnings maa::compiled doctest::doctest)
add_test(NAME faults.allocations COMMAND faults allocations ${CMAKE_CURRENT_BINARY_DIR}/faults_allocations 5)
