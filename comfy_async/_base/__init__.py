"""What all layers use: JSON, paths, settings and the clock, secrets, and how things live and are cleaned up.

It depends on plain data alone; nothing here talks to a server.
"""
