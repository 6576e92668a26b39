"""Every figure and table of arXiv 2411.17691 from measurements, beside the published numbers.

items.py       which items there are, in the paper's order; what each is made from
rows.py        which measurements stand for the paper's; curves
factors.py     F2 to F5, F11: losses, one factor at a time, undertrained against fully trained
laws.py        F1, F6, F7, F10, T1: whole laws, what they predict and miss
others.py      F8, F9, F12 to F14: texts, methods, weights that move, the years, native low bit
training_twins.py  F14 from the training losses that ship, where records hold no low-bit model
fits.py        fits and their words
published.py   numbers printed in the paper
drawing.py     the pictures
"""

from bitlaw.report.ouyang2024.items import reproduce_ouyang2024

__all__ = ["reproduce_ouyang2024"]
