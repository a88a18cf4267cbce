"""Critics of step-by-step mathematical reasoning: make them, measure them, put them to work.

The command line is `python -m deepcritic --help`. Importing the package loads neither torch nor any engine.
"""
