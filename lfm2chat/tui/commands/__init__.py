"""The commands of the chat screen, one file for each area; the registry is ``tui/keys.py``."""
