"""The engine of a session: it submits jobs to a server's queue and follows them to their end.

A submit goes `Engine` -> `prepare` -> `Submission` -> the dialect. A frame goes `Link` -> `Router` ->
the job. What the socket does not say the `Poller` finds, and `SocketHealth` holds the two against
each other; `OpenJobs` is what all of them share.
"""
