# Suites beyond the unit tests: labels golden, resume, interop, fuzz, gpu.
