"""Is an answer right: what it says (`extraction`), what it means (`equivalence`), and bounded workers (`grader`)."""
