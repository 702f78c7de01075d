"""The commands: their options, what they print, and their progress."""
