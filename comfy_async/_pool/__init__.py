"""Several servers behind one queue: `PoolEngine` takes a job, `Places` says whose turn it is and where,
`Carrier` brings it there by the session's own door.

What is known of a server stands in `Member`; `Health` asks those that do not answer. A `PoolJob`
that its server has lost goes on under the same handle elsewhere.
"""
