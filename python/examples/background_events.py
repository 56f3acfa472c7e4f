"""A small web service whose slow work is done in the background: a request publishes a job and is answered at once, and a task of the same
program, or of another one, does it.

    mezzenger-server &
    python background_events.py [mezzenger://127.0.0.1:7202]
    curl http://127.0.0.1:8000/welcome/ada
"""

import asyncio
import sys

from mezzenger import aio


async def work(job: aio.Delivery) -> None:
    # Something slow. If this program ends meanwhile, another one gets the job.
    await asyncio.sleep(0)
    print(f"welcome, {job.text()}", flush=True)


async def serve(client: aio.Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
    _, path, *_ = request.split(maxsplit=2)
    # Taken, and on disk if the server has a journal, before the caller gets an answer.
    await client.send("mails.welcome", path.rpartition("/")[2], ack=True)
    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def main(url: str, port: int) -> None:
    async with aio.Client(url) as client:
        await client.groups.create("mailers", "mails.welcome")
        await client.subscribe("mails.welcome", work, group="mailers")
        service = await asyncio.start_server(lambda *ends: serve(client, *ends), "127.0.0.1", port)
        print(f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}", flush=True)
        async with service:
            await service.serve_forever()


if __name__ == "__main__":
    url = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    asyncio.run(main(url, int(sys.argv[2]) if len(sys.argv) > 2 else 8000))
