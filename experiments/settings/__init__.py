"""What a run is: pages, their fields and flags, the grid, and the jobs that are built from its cells."""
