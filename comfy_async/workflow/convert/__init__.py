"""workflow.convert."""
