"""Hosts of the pipeline: the command line and other programs that embed it."""
