"""RQ: `worker` runs jobs in one process, `submit` reads numbers and prints their doubles in order."""

import os
import sys
import time

import redis
import rq

connection = redis.Redis.from_url(os.environ["REDIS"])
queue = rq.Queue("jobs", connection=connection)


def double(number):
    return 2 * number


def submit():
    import rq_queue

    data = [rq.Queue.prepare_data(rq_queue.double, args=(int(line),)) for line in sys.stdin]
    for job in queue.enqueue_many(data):
        while (result := job.latest_result(timeout=60)) is None:
            time.sleep(0.001)
        print(result.return_value)


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        rq.SimpleWorker(["jobs"], connection=connection).work(logging_level="ERROR")
    else:
        submit()
