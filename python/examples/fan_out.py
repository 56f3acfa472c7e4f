"""One source of prices, and several displays that each see all of them, with asyncio.

    mezzenger-server &
    python fan_out.py [mezzenger://127.0.0.1:7202]
"""

import asyncio
import sys

from mezzenger import Filter, aio

PRICES = {"price.tea": 7, "price.milk": 1, "price.bread": 3}


async def display(number: int, client: aio.Client, ready: asyncio.Event) -> None:
    seen: dict[str, int] = {}
    # Who comes later gets the last price of each name.
    async with await client.subscription(Filter.pattern("price.*"), with_last=True) as prices:
        ready.set()
        async for price in prices:
            seen[price.name] = price.json()
            if len(seen) == len(PRICES):
                break
    print(f"display {number}: {dict(sorted(seen.items()))}")


async def main(url: str) -> None:
    async with aio.Client(url) as client, asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        for number in range(3):
            group.create_task(display(number, client, ready))
        await ready.wait()
        for name, price in PRICES.items():
            await client.send(name, price, retain=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"))
