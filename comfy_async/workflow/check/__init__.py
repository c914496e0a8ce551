"""workflow.check."""
