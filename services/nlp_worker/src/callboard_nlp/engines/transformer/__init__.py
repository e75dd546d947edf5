"""A Transformer of one's own: an encoder–decoder over a vocabulary that is learned from the same pairs.

recipe.py       what goes into a training and what comes out; no library is needed to say so
tokenizer.py    byte-level BPE: any text can be written, and comes back as it was
model.py        the network, and its cache of keys and values
batches.py      pairs as numbers, in batches of like length
training.py     the loop: steps, epochs, checkpoints
checkpoint.py   all that a resumed training must know
stored.py       the model's folder
threads.py      how many threads of the CPU a model is worth
generation.py   greedy and beam search
"""
