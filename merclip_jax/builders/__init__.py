"""Each system's way from a config to a job, a file each; `build` has the table."""
