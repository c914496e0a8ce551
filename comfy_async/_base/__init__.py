"""What all floors use: JSON, paths, settings and the clock, secrets, and how things live and are cleaned up.

It knows plain data and nobody else; nothing here talks to a server.
"""
