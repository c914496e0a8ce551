"""What ComfyUI says: bytes and JSON in, events and state out. Sans-IO: nothing here awaits."""
