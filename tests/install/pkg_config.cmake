# Builds and runs a program with each pkg-config file of the installed copy. Variables: `compiler`, `package`, `folder`,
# `embed` (the source of examples/embed_in_your_code), `names`.
set(ENV{PKG_CONFIG_PATH} ${package}/share/pkgconfig:${package}/lib/pkgconfig:${package}/lib64/pkgconfig)
file(MAKE_DIRECTORY ${folder})
foreach(name IN LISTS names)
  set(source ${embed})
  if(name STREQUAL "maa-policy")
    set(source ${CMAKE_CURRENT_LIST_DIR}/policy_only/main.cpp)
  endif()
  execute_process(COMMAND pkg-config --cflags --libs ${name} OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND ${flags})
  execute_process(COMMAND ${compiler} -std=c++20 -O1 ${source} ${flags} -o ${folder}/${name} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${folder}/${name} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
