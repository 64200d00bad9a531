"""Hosts: the command line and other programs that the pipeline runs inside of."""
