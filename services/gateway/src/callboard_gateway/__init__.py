"""The HTTP gateway of Callboard."""
