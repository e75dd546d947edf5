"""From an uploaded zip to a folder that a training reads.

faults.py       what is wrong, gathered so that it can be mended at once
archive.py      the zip: no path, no size and no trick of it reaches the disk
description.py  data.yaml: classes, and where the pictures of a split are
layout.py       the pictures of a split, and the label file of each
labels.py       the lines of a label file, by the model's task
pictures.py     whether a picture can be read
dataset.py      all of it together, written anew under names of our own
"""
