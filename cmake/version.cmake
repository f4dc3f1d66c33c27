# build/generated/compress_version.h: macros COMPRESS_VERSION and COMPRESS_COMMIT ("abc1234", "abc1234-dirty" with
# uncommitted changes, "unknown" outside a git checkout). Written at build time, and only when it changes: a commit
# recompiles version.cpp alone.
#
# The same file is the script that writes it: cmake -DSOURCE=... -DOUTPUT=... -DVERSION=... -P version.cmake
if(CMAKE_SCRIPT_MODE_FILE)
  set(commit "unknown")
  execute_process(COMMAND git -C "${SOURCE}" rev-parse --short HEAD
    OUTPUT_VARIABLE found RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(commit "${found}")
    execute_process(COMMAND git -C "${SOURCE}" status --porcelain --untracked-files=no
      OUTPUT_VARIABLE changes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(changes)
      string(APPEND commit "-dirty")
    endif()
  endif()
  set(text "#pragma once\n#define COMPRESS_VERSION \"${VERSION}\"\n#define COMPRESS_COMMIT \"${commit}\"\n")
  set(kept "")
  if(EXISTS "${OUTPUT}")
    file(READ "${OUTPUT}" kept)
  endif()
  if(NOT kept STREQUAL text)
    file(WRITE "${OUTPUT}" "${text}")
  endif()
  return()
endif()

set(version_header "${CMAKE_BINARY_DIR}/generated/compress_version.h")
set(version_command ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${version_header} -DVERSION=${PROJECT_VERSION}
  -P ${CMAKE_CURRENT_LIST_FILE})
execute_process(COMMAND ${version_command})  # so that the first build finds it
add_custom_target(compress_version_header COMMAND ${version_command} BYPRODUCTS ${version_header} VERBATIM)
add_library(compress_version INTERFACE)
target_include_directories(compress_version INTERFACE "${CMAKE_BINARY_DIR}/generated")
add_dependencies(compress_version compress_version_header)
