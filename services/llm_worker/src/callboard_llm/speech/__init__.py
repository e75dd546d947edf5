"""Who speaks: ElevenLabs, OpenAI or a server like it, and a voice on this machine.

interface.py   what a provider of speech is: its voices, and pieces of a text spoken
local.py       the offline voice (piper), English
elevenlabs.py  ElevenLabs over httpx
openai.py      OpenAI, or a server like it, through the openai SDK
pieces.py      a text cut at its sentences
recital.py     the pieces of one job, spoken beside each other and kept
kept.py        finished pieces in the object store, so that nobody pays twice
joining.py     pieces put together without clicks (pydub)
ffmpeg.py      decoding, loudness, encoding
announcing.py  which voices there are, told to the ledger
"""
