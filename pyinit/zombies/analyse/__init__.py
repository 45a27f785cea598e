"""What the numbers mean: causes, budgets, growth, verdicts; without a system call."""
