"""The API of each kind of server: the requests of a run in its own format, its answers as facts.

One class for each dialect: `comfyui.RunApi` is for every ComfyUI from 0.1 to today, `cloud_v1.CloudApi` for
Comfy Cloud. The session calls it to post, poll, find and cancel, and never names a route itself; where
releases differ, `server.ServerInfo` says what this one can do, and every answer corrects it.
"""
