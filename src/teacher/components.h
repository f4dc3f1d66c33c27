#pragma once
// The kinds of teachers, one a file.

#include <string>

#include "compress/teacher/teacher.h"

namespace compress::teacher {

using TeacherRegistry = recipe::RegistryOf<Maker>;

void add_model(TeacherRegistry& registry);    // frozen.cpp
void add_average(TeacherRegistry& registry);  // average.cpp
void add_student(TeacherRegistry& registry);  // student.cpp

// Of an option that is one of "student" and "unmasked".
View view_of(const std::string& word);
inline constexpr const char* view_doc =
    "the rows that it reads: the student's batch, or that before augments changed it (unmasked)";

}  // namespace compress::teacher
