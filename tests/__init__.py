"""Tests of the project; one file for each module."""
