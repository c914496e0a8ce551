"""Many workflows, a few at a time: `Batch` takes them from an iterable, and yields their jobs as they end.

It knows who runs them by the Protocol `BatchRunner`; `SessionItems` does it on a session. The
`Journal` is the results file from which an interrupted batch goes on.
"""
