#pragma once
// What the library that reads Parquet offers: plain C, so that it may be loaded when it is needed.

#include <cstddef>

extern "C" {

// Takes some bytes of text; anything but 0 ends the reading.
using CompressParquetWrite = int (*)(void* to, const char* bytes, size_t count);

// Gives the rows of a Parquet file to `write`, one JSON object a line with all columns. A column of
// class numbers whose names the file's metadata has (as Hugging Face's data sets do) is written by
// name; bytes that are no UTF-8 as base64, dates and decimal numbers as text. Returns 0, or 1 with
// the reason in `why` (of `room` bytes) for a file that is damaged or has no form in JSON.
int compress_parquet_rows(const char* file, CompressParquetWrite write, void* to, char* why,
                          size_t room);

}  // extern "C"
