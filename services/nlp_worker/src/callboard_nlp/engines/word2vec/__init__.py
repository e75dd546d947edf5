"""Word2Vec: gensim's kernels and vectors, over corpora of any size.

corpus.py      sentences from token lists, texts and files
words.py       how texts are cut into words
blocks.py      a corpus on disk, in blocks that are trained on one at a time
vocabulary.py  which words a model is made of, counted exactly
epochs.py      threads that take blocks to the kernels
training.py    from a corpus to the published folder
vectors.py     a trained model, to be asked
"""
