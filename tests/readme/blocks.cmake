# Configures and builds what blocks.py wrote against an installed copy; those that want CUDA only where that was found.
file(GLOB folders ${blocks}/*)
foreach(folder IN LISTS folders)
  cmake_path(GET folder FILENAME name)
  if(name MATCHES cuda AND NOT cuda)
    message(STATUS "${name}: no CUDA here, not configured")
    continue()
  endif()
  foreach(command IN ITEMS
      "-S;${folder};-B;${folder}/build;-G;${generator};-DCMAKE_CXX_COMPILER=${compiler};-DCMAKE_PREFIX_PATH=${prefix}"
      "--build;${folder}/build")
    execute_process(COMMAND ${CMAKE_COMMAND} ${command} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endforeach()
if(NOT folders)
  message(FATAL_ERROR "expected blocks in ${blocks}, found none")
endif()
