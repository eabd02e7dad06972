"""Sends with Resend's own client, a file as a list of octets as it documents, and prints what came of it."""
import json
import os

import resend

resend.api_key = os.environ["POSTROAD_KEY"]
resend.api_url = os.environ["POSTROAD_URL"]
plain = {"from": "hello@acme.example", "to": ["ann@example.net"], "subject": "Hello", "html": "<p>HTML</p>"}
one = resend.Emails.send({**plain, "attachments": [{"filename": "a.bin", "content": list(range(256))}]})
batch = resend.Batch.send([plain, {**plain, "to": ["bob@example.net"]}])
out = {"one": one["id"], "batch": [item["id"] for item in batch["data"]]}
try:
    resend.Emails.send({**plain, "to": ["nobody"]})
except resend.exceptions.ResendError as error:
    out["bad_to"] = {"code": error.code, "message": error.message}
print(json.dumps(out))
