# LibTorch from the PyPI wheel. Its headers and libraries are used directly: no find_package(Torch), which would ask
# for a CUDA toolkit that a user of the wheel does not have.
set(COMPRESS_TORCH_DIR "" CACHE PATH "Folder that holds LibTorch's include/ and lib/ (default: the wheel in .venv)")
if(NOT COMPRESS_TORCH_DIR)
  file(GLOB found "${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
  list(LENGTH found count)
  if(count EQUAL 1)
    set(COMPRESS_TORCH_DIR "${found}" CACHE PATH "" FORCE)
  endif()
endif()
if(NOT EXISTS "${COMPRESS_TORCH_DIR}/lib/libtorch.so")
  message(FATAL_ERROR "LibTorch was not found. Run ./scripts/setup, or give -DCOMPRESS_TORCH_DIR=<folder with include/ and lib/>.")
endif()
if(EXISTS "${COMPRESS_TORCH_DIR}/version.py")
  file(STRINGS "${COMPRESS_TORCH_DIR}/version.py" line REGEX "^__version__")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" torch_version "${line}")
  if(NOT torch_version VERSION_EQUAL 2.11.0)
    message(FATAL_ERROR "LibTorch ${torch_version} in ${COMPRESS_TORCH_DIR}; 2.11.0 is what this program is built and tested with.")
  endif()
endif()

add_library(compress_libtorch INTERFACE)
target_include_directories(compress_libtorch SYSTEM INTERFACE
  "${COMPRESS_TORCH_DIR}/include" "${COMPRESS_TORCH_DIR}/include/torch/csrc/api/include")
target_compile_definitions(compress_libtorch INTERFACE USE_C10D_GLOO USE_DISTRIBUTED)
target_link_directories(compress_libtorch INTERFACE "${COMPRESS_TORCH_DIR}/lib")
# --no-as-needed keeps libtorch.so, through which the CUDA library comes in where it is present. libstdc++ comes first:
# libtorch.so exports some std::filesystem symbols of its own, which must not shadow the real ones.
target_link_libraries(compress_libtorch INTERFACE "-Wl,--no-as-needed" stdc++ torch torch_cpu c10 "-Wl,--as-needed")
# Where executables of the build tree find it; `cmake --install` replaces that by where the bundle's do (CMakeLists.txt).
set(CMAKE_BUILD_RPATH "${COMPRESS_TORCH_DIR}/lib")
# at::parallel_for is inlined into our code and is parallel only where OpenMP is on. The runtime is LibTorch's own copy, so
# that there is one pool of threads.
target_compile_options(compress_libtorch INTERFACE -fopenmp)
file(GLOB gomp "${COMPRESS_TORCH_DIR}/lib/libgomp*.so*" "${COMPRESS_TORCH_DIR}/../torch.libs/libgomp*.so*")
list(APPEND gomp gomp)  # the compiler's, where LibTorch brings none
list(GET gomp 0 gomp)
target_link_libraries(compress_libtorch INTERFACE ${gomp})

# The CUDA library's own symbols (graphs, properties of cards, NCCL between processes) are used where it is present, in the files given to
# compress_cuda_sources(); elsewhere these compile to the answer that there is none. The headers need those of the CUDA
# runtime, which come with the wheel.
file(GLOB cuda_include "${COMPRESS_TORCH_DIR}/../nvidia/cu[0-9]*/include")
file(GLOB nccl_include "${COMPRESS_TORCH_DIR}/../nvidia/nccl/include")
set(COMPRESS_CUDA OFF)
if(EXISTS "${COMPRESS_TORCH_DIR}/lib/libtorch_cuda.so" AND EXISTS "${COMPRESS_TORCH_DIR}/lib/libc10_cuda.so" AND cuda_include AND nccl_include)
  set(COMPRESS_CUDA ON)
  target_link_libraries(compress_libtorch INTERFACE torch_cuda c10_cuda)
endif()
function(compress_cuda_sources)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  if(COMPRESS_CUDA)
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_DEFINITIONS "COMPRESS_CUDA;USE_C10D_NCCL"
      COMPILE_OPTIONS "-isystem;${cuda_include};-isystem;${nccl_include}")
  endif()
endfunction()
