"""The rest of the server: files, queue, history, jobs, nodes, models and more."""
