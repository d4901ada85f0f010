"""From what a dataset's owners hand out to a `Release`: tables and folders, no picture.

findings: what can be odd; folders, trees and table: how files are found and read;
release: rows joined with their frames; declaration and reader: one reader of them all,
driven by what a dataset declares.
"""
