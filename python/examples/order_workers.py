"""Workers that share orders, and an order that nobody can pack.

    mezzenger-server &
    python order_workers.py [mezzenger://127.0.0.1:7202]
"""

import sys
import threading
import time

import mezzenger
from mezzenger import Filter, Verdict

ORDERS = ["tea", "coffee", "milk", "a unicorn", "sugar", "bread"]


def main(url: str) -> None:
    orders, packed = Filter.pattern("orders.*"), threading.Semaphore(0)

    def pack(order: mezzenger.Delivery) -> Verdict | None:
        if "unicorn" in order.text():
            return Verdict.reject("there are no unicorns")
        # In one piece: others print at the same time.
        sys.stdout.write(f"packed {order.text()}\n")
        packed.release()
        return None

    with mezzenger.Client(url) as shop, mezzenger.Client(url) as workers:
        # Orders wait for it, whether there are workers or not.
        shop.groups.create("order-workers", orders, attempts_max=5, backoff=[0.1, 1, 10])
        # Three at the same time.
        for _ in range(3):
            workers.subscribe(orders, pack, group="order-workers", credit=1)
        for order in ORDERS:
            shop.send("orders.new", order, ack=True)
        for _ in ORDERS[1:]:
            packed.acquire()
        letters = shop.dead_letters("order-workers")
        while not letters.count():
            # The rejection is in flight.
            time.sleep(0.01)
        for letter in letters.list():
            print(f"gave up {letter.id}: {letter.reason}")
        letters.purge()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1")
