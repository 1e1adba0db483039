"""Cameras that write what events said of tasks and workers into tables of a database."""
