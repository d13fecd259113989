"""Where works are trained besides this process: processes of one program, a Ray cluster, scripts for SLURM."""
