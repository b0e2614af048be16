"""A version for tests: a small server that answers its name, and fails, is slow, or dies as told."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from http import HTTPStatus


async def serve(options: argparse.Namespace) -> None:
    chance, body = random.Random(options.version), options.version.encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                path = line.split()[1]
                fails = path != b"/health" and chance.random() < options.fail
                if path != b"/health":
                    await asyncio.sleep(options.delay / 1000)
                status = HTTPStatus(500 if fails else 200)
                head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", options.port, backlog=512)
    if options.die_after:
        asyncio.get_running_loop().call_later(options.die_after, sys.exit, 3)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--fail", type=float, default=0.0, help="share of requests that answer 500")
    parser.add_argument("--delay", type=float, default=1.0, help="milliseconds an answer takes")
    parser.add_argument("--die-after", type=float, default=0.0, help="seconds to live")
    options = parser.parse_args()
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
