"""Hash rings: who owns what, who is alive, which answers make a quorum."""
