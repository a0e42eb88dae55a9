# All `programs` print the same, and something.
foreach(program IN LISTS programs)
  execute_process(COMMAND ${program} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
  if(NOT output OR (DEFINED expected AND NOT output STREQUAL expected))
    message(FATAL_ERROR "${program}: expected ${expected}, found ${output}")
  endif()
  set(expected ${output})
  message(STATUS "${program}: ${output}")
endforeach()
