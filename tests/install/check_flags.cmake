# Neither the installed package nor the compile command of a project that sets no flag holds an -m, -O, -W or -f flag.
# Variables: `package`, the prefix maa was installed to; `commands`, the project's compile_commands.json.
file(GLOB_RECURSE target_files ${package}/*maa-targets*.cmake)
if(NOT target_files)
  message(FATAL_ERROR "${package}: expected maa-targets.cmake, found none")
endif()
foreach(file IN LISTS target_files)
  file(STRINGS ${file} lines REGEX "INTERFACE_(COMPILE_OPTIONS|COMPILE_DEFINITIONS|LINK_OPTIONS)")
  if(lines)
    message(FATAL_ERROR "${file}: expected no exported flags, found ${lines}")
  endif()
endforeach()

file(READ ${commands} database)
string(JSON command GET "${database}" 0 command)
string(REGEX MATCHALL " -[mOWf][^ ]*" flags "${command}")
if(flags)
  message(FATAL_ERROR "expected no -m, -O, -W, -f flag, found${flags} in: ${command}")
endif()
