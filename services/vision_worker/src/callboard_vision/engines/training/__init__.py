"""Training with ultralytics.

recipe.py       what goes in and what comes out, and what a training tells
bases.py        what a training starts from
measures.py     our names for ultralytics' figures
library.py      ultralytics as a training needs it
steering.py     the callbacks that stand between ultralytics' trainer and the job
checkpoints.py  what a resumed training needs
training.py     all of it, from a folder of checked data to weights
publishing.py   from weights to a model's folder: ONNX, config.json, plots
"""
