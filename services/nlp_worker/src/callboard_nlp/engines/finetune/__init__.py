"""Fine-tuning an encoder into a text classifier with Hugging Face's Trainer.

recipe.py       what goes in and what comes out
base.py         the model that it starts from, with a head for the labels
training.py     Trainer, from tokens to the published folder
steering.py     the callback that stands between Trainer and the job
checkpoints.py  what a resumed training must know besides Trainer's own state
"""
