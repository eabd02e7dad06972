"""Sends with SendGrid's own client and prints what came of it."""
import json
import os

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Attachment, Mail, To

client = SendGridAPIClient(os.environ["POSTROAD_KEY"], host=os.environ["POSTROAD_URL"])
mail = Mail(("hello@acme.example", "Acme"), [To("ann@example.net", "Ann")], "Hello", "Some text.", "<p>HTML</p>")
mail.attachment = Attachment("AQIDBA==", "a.bin", "application/octet-stream", "attachment")
answer = client.send(mail)
out = {"status": answer.status_code, "id": answer.headers["X-Message-Id"], "body": answer.body.decode()}
try:
    SendGridAPIClient("wrong", host=os.environ["POSTROAD_URL"]).send(mail)
except HTTPError as error:
    out["wrong_key"] = {"status": error.status_code, "body": error.to_dict}
print(json.dumps(out))
