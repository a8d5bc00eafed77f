"""Measurements that anybody can repeat; they print, and never pass or fail."""
