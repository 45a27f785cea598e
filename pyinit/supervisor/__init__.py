"""What PID 1 does: run the main child, reap, forward signals, and end; or be the pause."""
