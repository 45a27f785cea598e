"""The zombie report: which parent leaks zombies, what helps, and how long until no PID is left. It only reads /proc."""
