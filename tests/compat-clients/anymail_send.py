"""Sends the same mail through django-anymail's backends, and prints what each made of the answer.

Usage: anymail_send.py BACKEND TEMPLATE  A backend that is not in SETTINGS is an error."""
import json
import os
import sys

from django.conf import settings

URL, KEY = os.environ["POSTROAD_URL"], os.environ["POSTROAD_KEY"]
SETTINGS = {
    "sendgrid": {"SENDGRID_API_KEY": KEY, "SENDGRID_API_URL": f"{URL}/v3/", "SENDGRID_MERGE_FIELD_FORMAT": "-{}-"},
    "mailgun": {"MAILGUN_API_KEY": KEY, "MAILGUN_API_URL": f"{URL}/v3", "MAILGUN_SENDER_DOMAIN": "acme.example"},
    "postmark": {"POSTMARK_SERVER_TOKEN": KEY, "POSTMARK_API_URL": f"{URL}/"},
    "resend": {"RESEND_API_KEY": KEY, "RESEND_API_URL": f"{URL}/"},
    "amazon_ses": {
        "AMAZON_SES_CLIENT_PARAMS": {
            "endpoint_url": URL,
            "region_name": "eu-west-1",
            "aws_access_key_id": os.environ.get("AWS_ID"),
            "aws_secret_access_key": os.environ.get("AWS_SECRET"),
        }
    },
    "brevo": {"BREVO_API_KEY": KEY, "BREVO_API_URL": f"{URL}/v3/"},
    "mailersend": {
        "MAILERSEND_API_TOKEN": KEY,
        "MAILERSEND_API_URL": f"{URL}/v1/",
        "MAILERSEND_BATCH_SEND_MODE": "expose-to-list",
    },
    "mailjet": {"MAILJET_API_KEY": "public", "MAILJET_SECRET_KEY": KEY, "MAILJET_API_URL": f"{URL}/v3.1/"},
    "sparkpost": {"SPARKPOST_API_KEY": KEY, "SPARKPOST_API_URL": f"{URL}/api/v1"},
}
# How a mail of these shows what is each recipient's own. Mailjet reads its language in templates alone, unless it is asked to.
FIELDS = {
    "sendgrid": "-name-",
    "mailgun": "%recipient.name%",
    "brevo": "{{ params.name }}",
    "mailersend": "{{ name }}",
    "sparkpost": "{{name}}",
}
# What a provider, and so its backend, cannot.
LACKS = {"brevo": {"inline"}, "mailersend": {"metadata"}, "resend": {"templates"}, "sparkpost": {"templates"}}

settings.configure(
    ANYMAIL={name: value for own in SETTINGS.values() for name, value in own.items()},
    ANYMAIL_IGNORE_UNSUPPORTED_FEATURES=False,
    USE_TZ=True,
)
import django

django.setup()

from anymail.exceptions import AnymailAPIError, AnymailRecipientsRefused
from anymail.message import AnymailMessage, attach_inline_image
from django.core.mail import get_connection


def shown(message):
    status = message.anymail_status
    return {
        "status": sorted(status.status or []),
        "message_id": status.message_id if isinstance(status.message_id, str) else sorted(status.message_id or []),
        "recipients": {email: [one.status, one.message_id] for email, one in sorted(status.recipients.items())},
    }


def whole(backend, lacks):
    message = AnymailMessage(
        subject="Grüße",
        body="Hallo Ann",
        from_email='"Acme, Inc." <hello@acme.example>',
        to=["Ann Ä <ann@example.net>"],
        cc=["carl@example.net"],
        bcc=["bob@example.net"],
        reply_to=["help@acme.example"],
        headers={"X-Order": "7"},
        tags=["welcome"],
    )
    if "metadata" not in lacks:
        message.metadata = {"order": "7"}
    if "inline" in lacks:
        message.attach_alternative("<p>Hallo</p>", "text/html")
    else:
        image = attach_inline_image(message, b"PNG", "logo.png", subtype="png", domain="acme.example")
        message.attach_alternative(f'<p>Hallo <img src="cid:{image}"></p>', "text/html")
    message.attach("ü.bin", bytes(range(256)), "application/octet-stream")
    backend.send_messages([message])
    return shown(message)


def merged(backend, field):
    message = AnymailMessage(
        subject=f"Hi {field}", body=f"Dear {field}", from_email="hello@acme.example", to=["ann@example.net", "bob@example.net"]
    )
    message.merge_data = {"ann@example.net": {"name": "Ann"}, "bob@example.net": {"name": "Bob"}}
    backend.send_messages([message])
    return shown(message)


def templated(backend, template):
    message = AnymailMessage(from_email="hello@acme.example", to=["ann@example.net", "bob@example.net"])
    message.template_id = template
    message.merge_data = {"ann@example.net": {"name": "Ann"}, "bob@example.net": {"name": "Bob"}}
    message.merge_global_data = {"site": "Acme"}
    backend.send_messages([message])
    return shown(message)


def refused(backend):
    message = AnymailMessage(subject="x", body="x", from_email="hello@acme.example", to=["nobody@-example-.net"])
    try:
        backend.send_messages([message])
        return shown(message)
    except AnymailRecipientsRefused as error:
        return {"refused": str(error).splitlines()[0]}
    except AnymailAPIError as error:
        return {"error": error.status_code}


out = {}
for name, template in [sys.argv[1:]]:
    backend = get_connection(f"anymail.backends.{name}.EmailBackend")
    SETTINGS[name]
    out = {"whole": whole(backend, LACKS.get(name, set())), "refused": refused(backend)}
    if "templates" not in LACKS.get(name, set()):
        out["templated"] = templated(backend, template)
    if name in FIELDS:
        out["merged"] = merged(backend, FIELDS[name])
print(json.dumps(out))
