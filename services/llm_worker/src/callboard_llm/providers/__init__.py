"""Who answers chats: OpenAI or a server like it, and a model on this machine. Both speak OpenAI's protocol.

interface.py        what a handler sees of a provider
completions.py      one chat by OpenAI's protocol: the stream, put together
faults.py           the errors of OpenAI's library, as errors of ours
openai.py           OpenAI, or a server like it
local.py            the model on this machine
llama_process.py    the process that serves it, as the worker sees it
llama_server.py     the program that this process runs
"""

from callboard_llm.providers.interface import Answer, Ask, Provider, ToolCall

__all__ = ["Answer", "Ask", "Provider", "ToolCall"]
