"""The public classes: `ComfySession` and `ComfyPool`, thin over their engines.

They put the parts together, and hold the docstrings; what they share stands in `Client`. A call goes
straight down: the client, its engine, the dialect, the transport.
"""
