"""The Python clients of six providers; those of SparkPost and Mailjet speak TLS only."""

import base64
import json
import os

host, url, key = os.environ["POSTROAD_TLS"], os.environ["POSTROAD_URL"], os.environ["POSTROAD_KEY"]
tls = "https://" + host
content = base64.b64encode(bytes(range(256))).decode()
out = {}

from sparkpost import SparkPost

sent = SparkPost(key, base_uri=host).transmissions.send(
    recipients=["ann@example.net", "Bob Ünal <bob@example.net>"],
    from_email="Acme <hello@acme.example>", subject="Grüße", html="<p>Hello</p>", text="Hello", campaign="python",
    attachments=[],
)
out["sparkpost"] = sent

from mailjet_rest import Client

answer = Client(auth=("public", key), version="v3.1", api_url=tls + "/").send.create(data={"Messages": [{
    "From": {"Email": "hello@acme.example"}, "To": [{"Email": "ann@example.net"}], "Subject": "Grüße", "TextPart": "Hello",
}]})
out["mailjet"] = [answer.status_code, answer.json()["Messages"][0]["Status"]]

from mailersend import EmailBuilder, MailerSendClient

mail = EmailBuilder().from_email("hello@acme.example", "Acme").to("ann@example.net").subject("Grüße").text("Hello").build()
out["mailersend"] = MailerSendClient(api_key=key, base_url=url + "/v1/").emails.send(mail).id

from brevo import Brevo
from brevo.transactional_emails import SendTransacEmailRequestSender, SendTransacEmailRequestToItem

client = Brevo(api_key=key, base_url=url + "/v3")
out["brevo"] = client.transactional_emails.send_transac_email(
    sender=SendTransacEmailRequestSender(email="hello@acme.example"), to=[SendTransacEmailRequestToItem(email="ann@example.net")],
    subject="Grüße", text_content="Hello", html_content="<p>Hello</p>",
).message_id

from sendlayer import SendLayer

layer = SendLayer(key)
# It has no setting for it.
layer.Emails.client.base_url = url + "/api/v1"
out["sendlayer"] = layer.Emails.send(
    sender={"email": "hello@acme.example", "name": "Acme"}, to="ann@example.net", subject="Grüße", text="Hello", html="<p>Hello</p>",
    tags=["welcome"],
)

from pepipost.configuration import Configuration
from pepipost.models.content import Content
from pepipost.models.mfrom import From
from pepipost.models.personalizations import Personalizations
from pepipost.models.send import Send
from pepipost.models.email_struct import EmailStruct
from pepipost.models.type_enum import TypeEnum
from pepipost.pepipost_client import PepipostClient

Configuration.base_uri = url + "/v5"
body = Send()
body.mfrom = From("hello@acme.example", "Acme")
body.subject = "Hi [%name%]"
body.content = [Content(TypeEnum.HTML, "<p>Hi [%name%]</p>")]
who = Personalizations()
who.to = [EmailStruct("Ann", "ann@example.net")]
who.attributes = {"name": "Ann"}
body.personalizations = [who]
out["netcore"] = PepipostClient(key).mail_send.create_generatethemailsendrequest(body)
print(json.dumps(out, default=str))
