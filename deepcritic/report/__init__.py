"""A report on a run as one offline HTML page: `deepcritic.report.page.write_page(run, folder, summary)`.

    overview.py   title, headline figures, and the table of stages
    warnings.py   what to know before the figures, worst first
    results_tables.py differences.py judge_tables.py data_tables.py made_table.py   the tables of the overview
    tables.py     the summary's figures as tables for the terminal and the page
    draw.py       plots in the colours of the page, with a text and data
    plots_*.py    the plots, from the files of the stages
    texts.py      problems and steps, from any row file of the run
    filterings.py the rows of `stage=filter` for the browser
    browser.py    every verdict beside the gold, and the critiques, decompressed on demand
    lineage.py    the origin of a model: its training and its training data
    page.py       the page itself: template, styles, scripts and content security policy

Texts from data and models never become markup: Jinja escapes them, and scripts insert them as text.
"""
