"""HTTP and WebSocket: the only importers of httpx and of websockets, whose errors are turned into ours here.

`http` sends one request and reads one answer: credentials are added beneath httpx (`foreign`, `auth`),
redirects and proxies are kept in hand (`address`, `proxy`), bodies are unpacked within a bound (`body`,
`unpack`), and an error status becomes an error of ours (`answers`). `socket` connects with the same
credentials and yields frames in bulk. In whatever a server refuses with, the veil masks every key
before an error is made of it.
"""
