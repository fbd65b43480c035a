"""Celery with Redis: `worker` runs tasks in two processes, `submit` reads numbers and prints their doubles in order."""

import os
import sys

from celery import Celery, group

app = Celery("jobs", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.update(task_serializer="json", result_expires=3600, worker_prefetch_multiplier=64)


@app.task(name="double")
def double(number):
    return 2 * number


def submit():
    numbers = [int(line) for line in sys.stdin]
    for result in group(double.s(number) for number in numbers).apply_async().get():
        print(result)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        app.worker_main(["worker", "-c2", "-l", "error", "--without-gossip", "--without-mingle", "--without-heartbeat"])
    else:
        submit()
