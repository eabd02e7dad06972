"""Judges the ARC chains of mails by dkimpy: reads {"dns": {name: text}, "mails": [base64]} and writes, for each mail,
what came of its chain."""

import base64
import json
import sys

import dkim


def main():
    given = json.load(sys.stdin)

    def lookup(name, timeout=5):
        name = (name.decode() if isinstance(name, bytes) else name).rstrip(".")
        text = given["dns"].get(name)
        return text.encode() if text is not None else None

    def judged(mail):
        validation, _, _ = dkim.arc_verify(mail, dnsfunc=lookup)
        return validation.decode() if isinstance(validation, bytes) else str(validation)

    json.dump([judged(base64.b64decode(mail)) for mail in given["mails"]], sys.stdout)


main()
