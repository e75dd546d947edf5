"""Labelled texts and text pairs, from what a user gives to what is trained and measured on.

tables.py    rows of a CSV, JSONL, JSON or Parquet file, told by its bytes
rows.py      where rows are
labelled.py  texts with their labels from rows, and what is wrong with them
pairs.py     text pairs from rows, and what is wrong with them
hub.py       data sets of the Hugging Face hub
splits.py    which rows are trained on, and which only measured on
"""
