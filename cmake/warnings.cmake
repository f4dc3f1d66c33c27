add_library(compress_warnings INTERFACE)
target_compile_options(compress_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wno-missing-field-initializers
  -Wno-psabi)  # vectors that are passed between functions of one file alone
option(COMPRESS_WERROR "Treat warnings as errors" OFF)
if(COMPRESS_WERROR)
  target_compile_options(compress_warnings INTERFACE -Werror)
endif()

# Sanitizers: -DCOMPRESS_SANITIZE=address,undefined or thread.
set(COMPRESS_SANITIZE "" CACHE STRING "Sanitizers to build with")
if(COMPRESS_SANITIZE)
  add_compile_options(-fsanitize=${COMPRESS_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${COMPRESS_SANITIZE})
endif()
