"""How we talk: the only importers of httpx and of websockets. Foreign errors end here.

`http` sends one request and reads one answer: credentials are added beneath httpx (`foreign`, `auth`),
redirects and proxies are kept in hand (`address`, `proxy`), bodies are unpacked within a bound (`body`,
`unpack`), and an error status becomes an error of ours (`answers`). `socket` dials with the same
handshake and hands over frames in bulk. Whatever a server refuses with passes the veil, which knows
every key, before anybody makes an error of it.
"""
