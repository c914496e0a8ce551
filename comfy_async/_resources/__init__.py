"""The rest of the server: files, queue, history, jobs, nodes, models and more.

Each resource calls the routes of `routes` through `host`, and reads the answers into the records of
`_schema_*`. Uploads are prepared in `_sources` and `_pictures`, sent and remembered by `_uploads`;
downloads pass `_answered`, which refuses what cannot be the file, and are written by `_downloads`.
`access` loads each resource when it is first used.
"""
