"""The LLM and speech worker of Callboard."""
