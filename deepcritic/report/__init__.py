"""A run as one page that works offline, from a disk: `deepcritic.report.page.write_page(run, file)`.

    overview.py   what was run, with what result, and what to be wary of
    tables.py     the figures that were agreed on, as tables for the terminal and the page
    draw.py       a plot in the colours of the page, with its text and its data
    plots_*.py    what is drawn, from the files of the stages
    texts.py      problems and steps, wherever the run has them
    browser.py    every verdict beside the truth, and the critiques, kept compressed until they are asked for
    lineage.py    from a verdict to the model, its training, and what it learnt from
    page.py       the page itself: template, styles, scripts and the policy that allows nothing else

Texts of data and models never become markup: Jinja escapes them, and scripts put them into the page as text alone.
"""
