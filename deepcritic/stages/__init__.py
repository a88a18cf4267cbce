"""One verb a file, each with `run(folder, *, ...)`: read rows, ask, write rows, finish the folder's manifest."""
