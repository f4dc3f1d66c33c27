"""The parts of tools/tasks."""
