"""Answers PromQL from what ingesters hold."""
