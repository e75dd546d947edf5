"""OpenAI's API as jobs: its requests as inputs, outputs and problems as its answers. No HTTP; the facade and batches
share it."""
