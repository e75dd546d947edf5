"""The vision worker of Callboard."""
