"""The rivals' own programs: each module is run by a process of its own and imports nothing of Callboard."""
