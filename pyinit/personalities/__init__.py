"""One module a personality: flags and environment to Options, and the texts that go with them."""
