"""Models of the Hugging Face hub, fetched into its own cache."""

from __future__ import annotations

from pathlib import Path

from callboard_shared.errors import RetryableError

_FROM_HUB = ["*.json", "*.safetensors", "*.txt", "*.model"]


def fetched(name: str) -> Path:
    """The local copy of a hub model, fetched if it is not there yet. Raises RetryableError without a network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        # Which models may be fetched the operator says (CALLBOARD_HUB_MODELS), and no file that holds code is.
        return Path(snapshot_download(name, allow_patterns=_FROM_HUB, ignore_patterns=["*/*"]))  # nosec B615
    except (HfHubHTTPError, OSError) as error:
        raise RetryableError(
            f"Model {name} could not be fetched from the hub ({type(error).__name__}). Is there a network?",
            code="model-unavailable",
        ) from error
