"""The built-in model: a folder in the format of the published ones, and no code."""
