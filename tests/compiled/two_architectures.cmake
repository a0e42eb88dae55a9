# Of a unit built for a plain processor and one for a newer one the linker must not choose between functions of the same
# name. Variables: `compiler`, `source`, `include`, `folder`.
cmake_minimum_required(VERSION 3.21)
foreach(architecture IN ITEMS x86-64 x86-64-v3 x86-64-v4)
  execute_process(COMMAND ${compiler} -std=c++20 -O1 -march=${architecture} -I${include} -c ${source}
    -o ${folder}/${architecture}.o COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND nm -C ${folder}/${architecture}.o OUTPUT_VARIABLE names COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[Wu] maa::[^\n]*" names "${names}")
  foreach(name IN LISTS names)
    if(name IN_LIST all)
      message(FATAL_ERROR "expected functions of their own for ${architecture}, found ${name} twice")
    endif()
  endforeach()
  list(APPEND all ${names})
endforeach()
if(NOT all)
  message(FATAL_ERROR "expected weak functions, found none")
endif()
