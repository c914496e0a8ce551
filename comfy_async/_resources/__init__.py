"""The rest of the server: files, queue, history, jobs, nodes, models and more.

Each resource asks the routes of `routes` by what `host` gives it, and reads the answers into the
records of `_schema_*`. What goes up is made ready in `_sources` and `_pictures`, sent and remembered
by `_uploads`; what comes down passes `_answered`, which refuses what cannot be the file, and is
written by `_downloads`. `access` loads each resource when it is first used.
"""
