"""How one setting is trained and judged, in another process."""
