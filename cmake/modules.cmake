# Several sources are compiled as one where that saves time: the templates that LibTorch's headers leave to every file take
# three seconds of each (docs/install.md has the builds' times). Off by default (a change of one source then compiles that one
# alone); the preset `release` turns it on. Sources with names that others of their module use too are compiled by themselves.
option(COMPRESS_UNITY "Compile several sources of a module at once" OFF)
file(GLOB alone "${CMAKE_SOURCE_DIR}/src/nn/products/*.cpp" "${CMAKE_SOURCE_DIR}/tests/fuzz/storage/*.cpp"
  "${CMAKE_SOURCE_DIR}/tests/unit/storage/*.cpp")
list(APPEND alone src/data/files/decompress.cpp src/data/tokens/token_writer.cpp src/text/regex/regex.cpp)
foreach(test checkpoint/save constraint/calibration constraint/magnitude constraint/pattern constraint/quantization data/batch data/columns
    data/documents data/layouts export/onnx nn/attention nn/gated nn/heads nn/model objective/marks pipeline/result surgery/trim_vocabulary teacher/answers teacher/teacher)
  list(APPEND alone "${CMAKE_SOURCE_DIR}/tests/unit/${test}_test.cpp")
endforeach()
set_source_files_properties(${alone} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
set_source_files_properties(src/data/files/decompress.cpp src/storage/packed/zstd.cpp PROPERTIES COMPILE_DEFINITIONS "${COMPRESS_DECOMPRESSOR_FLAGS}")
function(compress_unity target batch)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${COMPRESS_UNITY} UNITY_BUILD_BATCH_SIZE ${batch})
endfunction()
# What runs once a stage, not once an update or a row, is compiled a fifth faster with fewer passes.
set(COMPRESS_COLD recipe surgery teacher export pipeline cli)

# compress_module(NAME DEPENDS lower modules... [LIBRARIES external...] [TORCH] [TESTED_WITH modules...])
# One static library a module: sources in src/NAME, public headers in include/compress/NAME, unit tests in
# tests/unit/NAME (one executable a module, test labels from cmake/tests.cmake), which may use TESTED_WITH as well.
set(COMPRESS_COVERAGE "" CACHE STRING "Modules whose objects count the lines that run, for gcov")
function(compress_module name)
  cmake_parse_arguments(M "TORCH" "" "DEPENDS;LIBRARIES;TESTED_WITH" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/${name}/*.cpp"
    "${CMAKE_SOURCE_DIR}/src/${name}/*/*.cpp" "${CMAKE_SOURCE_DIR}/src/${name}/*/*/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/(main|plugin)\\.cpp$")
  list(TRANSFORM M_DEPENDS PREPEND compress_)
  list(TRANSFORM M_TESTED_WITH PREPEND compress_)
  if(sources)
    add_library(compress_${name} STATIC ${sources})
    target_include_directories(compress_${name} PUBLIC "${CMAKE_SOURCE_DIR}/include" PRIVATE "${CMAKE_SOURCE_DIR}/src/${name}")
    target_link_libraries(compress_${name} PUBLIC ${M_DEPENDS} ${M_LIBRARIES} PRIVATE compress_warnings)
    if(M_TORCH)
      target_link_libraries(compress_${name} PUBLIC compress_libtorch)
      target_precompile_headers(compress_${name} REUSE_FROM compress_torch_pch)
    endif()
    compress_unity(compress_${name} 16)
    if(name IN_LIST COMPRESS_COLD)
      target_compile_options(compress_${name} PRIVATE $<$<CONFIG:Release>:-O1>)
    endif()
    if(name IN_LIST COMPRESS_COVERAGE)
      target_compile_options(compress_${name} PRIVATE --coverage)
      target_link_options(compress_${name} PUBLIC --coverage)
    endif()
  else()
    add_library(compress_${name} INTERFACE)
    target_include_directories(compress_${name} INTERFACE "${CMAKE_SOURCE_DIR}/include")
    target_link_libraries(compress_${name} INTERFACE ${M_DEPENDS} ${M_LIBRARIES})
    if(M_TORCH)
      target_link_libraries(compress_${name} INTERFACE compress_libtorch)
    endif()
  endif()
  compress_test_executable(${name}_test "unit" "${CMAKE_SOURCE_DIR}/tests/unit/${name}"
    "compress_${name};${M_TESTED_WITH}" "${M_TORCH}")
  if(TARGET ${name}_test)  # its tests may look into the module's rooms
    target_include_directories(${name}_test PRIVATE "${CMAKE_SOURCE_DIR}/src/${name}")
  endif()
endfunction()

# compress_test_executable(NAME LABEL FOLDER LIBRARY TORCH): all *.cpp of FOLDER in one executable, one ctest case each
# suite of it (unit.nn.Norm; each test where CASES=tests follows), labelled LABEL.
function(compress_test_executable name label folder library torch)
  file(GLOB tests CONFIGURE_DEPENDS "${folder}/*.cpp")
  if(NOT tests OR NOT BUILD_TESTING)
    return()
  endif()
  add_executable(${name} ${tests})
  compress_unity(${name} 6)
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${library} GTest::gtest_main GTest::gmock compress_warnings)
  target_compile_definitions(${name} PRIVATE COMPRESS_SOURCE_DIR="${CMAKE_SOURCE_DIR}" COMPRESS_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(torch)
    target_precompile_headers(${name} REUSE_FROM compress_test_pch)
  endif()
  if("CASES=tests" IN_LIST ARGN)
    gtest_discover_tests(${name} WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}" DISCOVERY_TIMEOUT 60
      TEST_PREFIX "${label}." PROPERTIES LABELS "${label}" TIMEOUT 300)
    return()
  endif()
  set(suites "${CMAKE_CURRENT_BINARY_DIR}/${name}.suites.cmake")
  if(NOT EXISTS "${suites}")
    file(WRITE "${suites}" "add_test(${name}_NOT_BUILT ${name}_NOT_BUILT)\n")
  endif()
  string(REGEX REPLACE "_[a-z]+$" "" prefix "${name}")
  if(prefix STREQUAL label)
    set(prefix "${label}.")
  else()
    set(prefix "${label}.${prefix}.")
  endif()
  add_custom_command(TARGET ${name} POST_BUILD BYPRODUCTS "${suites}" VERBATIM
    COMMAND "${CMAKE_COMMAND}" -D "EXECUTABLE=$<TARGET_FILE:${name}>" -D "FILE=${suites}" -D "PREFIX=${prefix}"
      -D "LABEL=${label}" -D "FOLDER=${CMAKE_SOURCE_DIR}" -D SECONDS=300 -P "${CMAKE_SOURCE_DIR}/cmake/discover_suites.cmake")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${suites}")
endfunction()

# compress_kernel_test(EXECUTABLE SETS FILTER): the tests of an executable that FILTER names once more for each
# instruction set of the list SETS, as one ctest case a set; a set that the machine lacks is skipped.
function(compress_kernel_test executable sets filter)
  if(NOT TARGET ${executable})
    return()
  endif()
  foreach(set ${sets})
    add_test(NAME unit.${executable}.${set} COMMAND ${executable} --gtest_filter=${filter}
      WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
    set_tests_properties(unit.${executable}.${set} PROPERTIES LABELS unit TIMEOUT 300 SKIP_RETURN_CODE 77
      ENVIRONMENT COMPRESS_CPU=${set})
  endforeach()
endfunction()
