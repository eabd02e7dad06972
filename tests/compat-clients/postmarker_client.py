"""Sends with postmarker, which sends explicit nulls and trailing slashes, and prints what came of it."""
import json
import os

from postmarker.core import PostmarkClient
from postmarker.exceptions import ClientError

client = PostmarkClient(server_token=os.environ["POSTROAD_KEY"])
client.root_api_url = os.environ["POSTROAD_URL"]
one = client.emails.send(From="hello@acme.example", To="ann@example.net", Subject="Hello", TextBody="Some text.")
batch = client.emails.send_batch(
    {"From": "hello@acme.example", "To": "ann@example.net", "Subject": "One", "TextBody": "1"},
    {"From": "hello@acme.example", "To": "bob@example.net", "Subject": "Two", "TextBody": "2"},
)
out = {"one": one, "batch": batch}
try:
    client.emails.send(From="hello@acme.example", To="nobody", Subject="Hello", TextBody="x")
except ClientError as error:
    out["bad_to"] = {"code": error.error_code, "message": str(error)}
print(json.dumps(out))
