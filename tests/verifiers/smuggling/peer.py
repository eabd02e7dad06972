"""A server that mail can be smuggled past (CVE-2024-27305): listens on a port, and writes each mail that it sees into a
file of its own in a directory: a line that names the sender, and the content."""

import asyncio
import itertools
import pathlib
import sys

from aiosmtpd.smtp import SMTP

port, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
numbers = itertools.count()


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        sender = (envelope.mail_from or "").encode()
        (directory / str(next(numbers))).write_bytes(b"From " + sender + b"\n" + envelope.content)
        return "250 2.0.0 Taken"


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Keeper(), hostname="mx.example.net", loop=loop), "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
