"""Jobs of the LLM worker."""

from callboard_shared.jobs.llm.chat import (
    CHAT,
    DEFAULT_CHAT_MODEL,
    ENGLISH_ALONE,
    MAX_CONVERSATION_CHARS,
    MAX_MESSAGE_CHARS,
    AssistantMessage,
    ChatInput,
    ChatOutput,
    ChatUsage,
    ImagePart,
    Message,
    TextPart,
)

__all__ = [
    "CHAT", "DEFAULT_CHAT_MODEL", "ENGLISH_ALONE", "MAX_CONVERSATION_CHARS", "MAX_MESSAGE_CHARS", "AssistantMessage",
    "ChatInput", "ChatOutput", "ChatUsage", "ImagePart", "Message", "TextPart",
]  # fmt: skip
