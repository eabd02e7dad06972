"""Judges the DKIM signatures of mails by dkimpy: reads {"dns": {name: text}, "mails": [base64]} and writes, for each
mail, what came of each of its signatures, from the top."""

import base64
import json
import re
import sys

import dkim


def main():
    given = json.load(sys.stdin)

    def lookup(name, timeout=5):
        name = (name.decode() if isinstance(name, bytes) else name).rstrip(".")
        text = given["dns"].get(name)
        return text.encode() if text is not None else None

    def judged(mail):
        count = len(re.findall(rb"^DKIM-Signature:", mail.split(b"\r\n\r\n")[0], re.M | re.I))
        results = []
        for index in range(count):
            try:
                results.append("pass" if dkim.DKIM(mail).verify(idx=index, dnsfunc=lookup) else "fail")
            except dkim.DKIMException as error:
                results.append(f"error: {error}")
        return results

    json.dump([judged(base64.b64decode(mail)) for mail in given["mails"]], sys.stdout)


main()
