"""The job that a user holds, its events, its result.

`core` is the machinery: `JobCore.take` brings each fact through the reducer of `_protocol`, and hands
what it means to the mailbox of each consumer. `job` is the thin handle over it that users see,
`stream` the block that cancels what is left early, `result` what a completed job made.
"""
