"""The asyncio client for ComfyUI: live progress, results that are never lost."""
