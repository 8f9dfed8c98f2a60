"""Running a study: the job, its executors and workers, one trial, progress, limits and signals."""
