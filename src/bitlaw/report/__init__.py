"""One self-contained HTML page from measurements: figures, tables, fits, and the conditions of every number.

    from bitlaw.report import report
    report("runs.db", "report.html")

    experiments.py   measurements -> experiments (suite and text) -> setups (a way of quantizing) -> points; pure
    panels.py        what a figure is made of: points, curves, panels; pure
    series.py        measurements -> points, fits -> curves; pure
    figures.py       the figures of an experiment: which panels and what is said below; pure
    tables.py        measurements and fits -> rows of cells; pure
    conditions.py    conditions of every number, and what was left out; pure
    words.py, headline.py   numbers as people read them, and the first sentences; pure
    fits.py          which fit belongs to which setup; fits the unified law where none was given
    style.py, drawing.py   panels -> SVG with matplotlib
    page.py          everything -> one file, through templates/page.html.j2

To add a figure: write a function in figures.py that returns a `Figure`, and add one line to `experiment_figures` there.
To add a table: a function in tables.py that returns a `Table`, and one line in page.py. Nothing here loads torch.
"""

from bitlaw.report.page import report

__all__ = ["report"]
