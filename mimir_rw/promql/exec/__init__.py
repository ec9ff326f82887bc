"""Evaluation of a planned PromQL expression over all steps at once, an operator family per file.

Everything here is synchronous and touches no loop, clock or storage I/O: it runs whole in one Offload thread, over
series that `plan.selects` gathered before. Values are in `values`, what an operator may ask for in `evaluation`.
"""
