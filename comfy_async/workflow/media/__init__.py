"""workflow.media."""
