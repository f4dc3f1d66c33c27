// Carries the precompiled LibTorch header; it has no code of its own.
