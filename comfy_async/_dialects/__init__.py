"""What a kind of server understands: the requests of a run in its own words, its answers as facts.

One class for each dialect: `comfyui.RunApi` speaks to every ComfyUI from 0.1 to today, `cloud_v1.CloudApi` to
Comfy Cloud. The session asks it to post, look, find and cancel, and never names a route itself; where
releases differ, `server.ServerInfo` says what this one can do, and every answer corrects it.
"""
