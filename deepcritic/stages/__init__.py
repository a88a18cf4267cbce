"""One module per stage. Its `run(folder, ...)` reads rows, asks models, writes rows and the manifest."""
