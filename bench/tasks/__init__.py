"""What is asked of a model: one file a task, its class `Task` (see bench/contracts.py)."""
