"""What the zombie report reads: /proc and the cgroup file system."""
