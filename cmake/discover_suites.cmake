# Run after an executable of GoogleTest was linked: writes FILE, which ctest includes, with one case for each suite.
# A case a suite, not a test: starting a process costs 0.4 s (LibTorch registers its operators), most tests a few
# milliseconds.
#
#   cmake -D EXECUTABLE=... -D FILE=... -D PREFIX=unit. -D LABEL=unit -D FOLDER=... -D SECONDS=300 -P discover_suites.cmake
execute_process(COMMAND "${EXECUTABLE}" --gtest_list_tests WORKING_DIRECTORY "${FOLDER}" OUTPUT_VARIABLE listed
  RESULT_VARIABLE failed TIMEOUT 60)
if(failed)
  message(FATAL_ERROR "${EXECUTABLE} --gtest_list_tests failed: ${failed}")
endif()

# Skipped is a suite of which every test was; one that failed leads to a line more after the list.
set(all_skipped "PASSED  . 0 tests.\n.  SKIPPED . [0-9]+ tests?, listed below:\n(.  SKIPPED . [^\n]*\n)+$")
set(cases "")
string(REGEX MATCHALL "(^|\n)[A-Za-z][A-Za-z0-9_/]*\\." suites "${listed}")
foreach(suite ${suites})
  string(REGEX REPLACE "[\n.]" "" suite "${suite}")
  string(APPEND cases "add_test([=[${PREFIX}${suite}]=] [=[${EXECUTABLE}]=] [=[--gtest_filter=${suite}.*]=])\n"
    "set_tests_properties([=[${PREFIX}${suite}]=] PROPERTIES WORKING_DIRECTORY [=[${FOLDER}]=] LABELS ${LABEL} TIMEOUT ${SECONDS}"
    " SKIP_REGULAR_EXPRESSION [=[${all_skipped}]=])\n")
endforeach()
file(WRITE "${FILE}" "${cases}")
