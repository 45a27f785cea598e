"""The zombie report: whose zombies, who must reap them, how long until no PID is left. Reads /proc, changes nothing."""
