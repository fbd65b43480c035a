#!/usr/bin/env python3
"""concurrent.futures.ProcessPoolExecutor(2).map: futures.py CHUNKSIZE < jobs > results"""
import concurrent.futures
import sys

from work import work

if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        for result in pool.map(work, sys.stdin.buffer, chunksize=int(sys.argv[1])):
            sys.stdout.write(f"{result}\n")
