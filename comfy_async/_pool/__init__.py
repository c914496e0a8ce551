"""Several servers behind one queue: `PoolEngine` takes a job, `Places` says whose turn it is and where,
`Carrier` submits it there by the session's own engine.

What is known of a server stands in `Member`; `Health` probes those that do not answer. A `PoolJob`
that its server has lost goes on under the same handle elsewhere.
"""
