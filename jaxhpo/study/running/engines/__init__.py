"""What runs the trials of `Study.optimize`: this process, worker processes, or an executor."""
