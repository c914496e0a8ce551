"""How we talk: the only importers of httpx and of websockets. Foreign errors end here."""
