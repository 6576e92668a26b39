"""The thirteen figures of arXiv 2410.12119 (Xu et al.) from our own measurements.

    from bitlaw.report.xu2024 import draw
    draw("families.parquet", "figures")          # figures/xu2024-1L.png ... and figures/xu2024.html

    sheets.py        what a figure is made of         models.py     which model stands for which of the paper's
    landscapes.py    figures 1, 2, 3, 7               formats.py    figures 4, 6, 8, 9, 10, 11
    predictions.py   figures 5, 12                    costs.py      figure 13
    drawing.py       any sheet -> PNG                 page.py       FIGURES, and `draw`: all of them

Figure data are pure functions, models -> `Sheet`; to change a figure change its function, to add one add it to page.FIGURES.
"""

from bitlaw.report.xu2024.page import FIGURES, Drawn, draw

__all__ = ["FIGURES", "Drawn", "draw"]
