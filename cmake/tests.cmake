# Suites beyond the unit tests: labels interop, fuzz, cli, resume, golden, gpu.
if(NOT BUILD_TESTING)
  return()
endif()

foreach(module recipe storage text)
  compress_test_executable(${module}_fuzz "fuzz" "${CMAKE_SOURCE_DIR}/tests/fuzz/${module}" compress_${module} FALSE)
endforeach()

compress_test_executable(resume_test "resume" "${CMAKE_SOURCE_DIR}/tests/resume" compress_train TRUE)

# On a card; without one each test skips and says so.
compress_test_executable(gpu_test "gpu" "${CMAKE_SOURCE_DIR}/tests/gpu" compress_train TRUE)
compress_cuda_sources("${CMAKE_SOURCE_DIR}/tests/gpu/train_test.cpp")

# Small programs through which the ecosystem's own libraries are compared with ours.
function(compress_interop_program name library torch)
  add_executable(${name} "${CMAKE_SOURCE_DIR}/tests/interop/${name}.cpp")
  target_link_libraries(${name} PRIVATE ${library} compress_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
  if(torch)
    target_precompile_headers(${name} REUSE_FROM compress_torch_pch)
  endif()
endfunction()
compress_interop_program(encode_lines compress_text FALSE)
compress_interop_program(safetensors_copy compress_storage FALSE)
compress_interop_program(tensors_copy compress_storage FALSE)
compress_interop_program(metrics_lines compress_eval TRUE)
compress_interop_program(export_model compress_export TRUE)

set(COMPRESS_PYTHON "${CMAKE_SOURCE_DIR}/.venv/bin/python")
# compress_python_test(NAME LABEL FILE SECONDS): one Python unittest file as one ctest case.
function(compress_python_test name label file seconds)
  add_test(NAME ${label}.${name} COMMAND "${COMPRESS_PYTHON}" -m unittest "${file}" WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set(bin "${CMAKE_BINARY_DIR}/bin")
  set_tests_properties(${label}.${name} PROPERTIES LABELS ${label} TIMEOUT ${seconds} ENVIRONMENT
    "COMPRESS_BIN=${bin}/compress;COMPRESS_ENCODE_LINES=${bin}/encode_lines;COMPRESS_SAFETENSORS_COPY=${bin}/safetensors_copy;COMPRESS_TENSORS_COPY=${bin}/tensors_copy;COMPRESS_METRICS_LINES=${bin}/metrics_lines;COMPRESS_EXPORT_MODEL=${bin}/export_model")
endfunction()
compress_python_test(tokenizer interop tests/interop/test_tokenizer.py 1800)
compress_python_test(tokenizer_kinds interop tests/interop/test_tokenizer_kinds.py 600)
compress_python_test(tokenizer_files interop tests/interop/test_tokenizer_files.py 600)
compress_python_test(tokenizer_parts interop tests/interop/test_tokenizer_parts.py 600)
compress_python_test(safetensors interop tests/interop/test_safetensors.py 600)
compress_python_test(torch_file interop tests/interop/test_torch_file.py 600)
compress_python_test(gguf interop tests/interop/test_gguf.py 600)
compress_python_test(metrics interop tests/interop/test_metrics.py 300)
compress_python_test(export interop tests/interop/test_export.py 900)
compress_python_test(fetch interop tests/interop/test_fetch.py 300)
compress_python_test(structure unit tests/structure/test_structure.py 60)
compress_python_test(golden golden tests/golden/test_golden.py 900)
compress_python_test(command_line cli tests/cli/test_cli.py 1500)
compress_python_test(tokenizer_command cli tests/cli/test_tokenizer.py 120)
