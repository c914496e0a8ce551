"""ComfyUI's protocol: bytes and JSON in, events and state out. Sans-IO: nothing here awaits."""
