#!/usr/bin/python3
"""slow.py PORT TO MS: passes a TCP port on to another of this machine, each answer so many ms later."""
import asyncio, socket, sys

PORT, TO, DELAY = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 1000


async def pump(reader, writer, delay):
    loop, last = asyncio.get_running_loop(), asyncio.Queue(1000)

    async def write():
        while (item := await last.get()) is not None:
            due, data = item
            await asyncio.sleep(max(0, due - loop.time()))
            writer.write(data)
            await writer.drain()
        writer.close()

    task = asyncio.create_task(write())
    try:
        while data := await reader.read(65536):
            await last.put((loop.time() + delay, data))
    except ConnectionError:
        pass
    await last.put(None)
    await asyncio.gather(task, return_exceptions=True)


async def serve(reader, writer):
    there, to = await asyncio.open_connection("127.0.0.1", TO)
    for one in (writer, to):
        one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await asyncio.gather(pump(reader, to, 0), pump(there, writer, DELAY), return_exceptions=True)


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", PORT) as server:
        await server.serve_forever()


asyncio.run(main())
