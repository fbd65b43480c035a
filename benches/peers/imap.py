#!/usr/bin/env python3
"""multiprocessing.Pool(2).imap: imap.py CHUNKSIZE < jobs > results

The parent does as little as it can: it hands on lines as bytes, and prints what comes back.
"""
import multiprocessing
import sys

from work import work

if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        for result in pool.imap(work, sys.stdin.buffer, int(sys.argv[1])):
            sys.stdout.write(f"{result}\n")
        pool.close()
        pool.join()
