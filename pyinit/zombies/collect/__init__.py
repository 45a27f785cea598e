"""All reading of the zombie report: /proc and the cgroup file system."""
