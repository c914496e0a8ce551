"""_dialects."""
