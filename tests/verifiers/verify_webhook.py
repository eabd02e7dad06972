"""Judges webhook requests by the public standardwebhooks package: a JSON list of {secret, headers, body} on stdin."""

import json
import sys

from standardwebhooks.webhooks import Webhook

for request in json.load(sys.stdin):
    Webhook(request["secret"]).verify(request["body"], request["headers"])
print("ok")
