# Compiles tests/install/policy_only/main.cpp by `compile`, runs it by `run` and expects its output. Variables besides:
# `program`, which is written.
execute_process(COMMAND ${compile} -o ${program} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${run} ${program} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
set(expected "-0.0469 -0.05 -0.0064 -0.01 0.0473 0.05 0.0170 0.02 890259\n")
if(NOT output STREQUAL expected)
  message(FATAL_ERROR "expected ${expected}found ${output}")
endif()
