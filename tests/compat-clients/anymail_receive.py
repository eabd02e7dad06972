"""Has django-anymail's webhook views judge requests, and prints the events they make of them.

Reads a JSON list of {"format", "secret", "headers", "body"}."""
import json
import sys

from django.conf import settings

settings.configure(ANYMAIL={}, USE_TZ=True, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
urlpatterns = []
import django

django.setup()

from anymail.signals import tracking
from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView
from anymail.webhooks.brevo import BrevoTrackingWebhookView
from anymail.webhooks.mailersend import MailerSendTrackingWebhookView
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from anymail.webhooks.mailjet import MailjetTrackingWebhookView
from anymail.webhooks.postmark import PostmarkTrackingWebhookView
from anymail.webhooks.resend import ResendTrackingWebhookView
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
from anymail.webhooks.sparkpost import SparkPostTrackingWebhookView
from django.test import RequestFactory

VIEWS = {
    "ses": (AmazonSESTrackingWebhookView, "basic"),
    "brevo": (BrevoTrackingWebhookView, "basic"),
    "mailersend": (MailerSendTrackingWebhookView, "signing_secret"),
    "mailgun": (MailgunTrackingWebhookView, "webhook_signing_key"),
    "mailjet": (MailjetTrackingWebhookView, "basic"),
    "postmark": (PostmarkTrackingWebhookView, "basic"),
    "resend": (ResendTrackingWebhookView, "signing_secret"),
    "sendgrid": (SendGridTrackingWebhookView, None),
    "sparkpost": (SparkPostTrackingWebhookView, "basic"),
}
seen = []


def note(sender, event, esp_name, **kwargs):
    seen.append(
        {
            "esp": esp_name,
            "type": event.event_type,
            "message_id": event.message_id,
            "recipient": event.recipient,
            "at": event.timestamp and event.timestamp.timestamp(),
            "tags": event.tags,
            "metadata": event.metadata,
            "reject_reason": event.reject_reason,
            "event_id": bool(event.event_id),
            "click_url": event.click_url,
        }
    )


tracking.connect(note)
out = []
for request in json.load(sys.stdin):
    view, credential = VIEWS[request["format"]]
    options = {}
    # Looked up when a view is made.
    settings.ANYMAIL = {"WEBHOOK_SECRET": f"postroad:{request['secret']}"} if credential == "basic" else {}
    if credential and credential != "basic":
        options[credential] = request["secret"]
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request["headers"].items()}
    content_type = headers.pop("HTTP_CONTENT_TYPE")
    headers.pop("HTTP_HOST", None)
    headers.pop("HTTP_CONTENT_LENGTH", None)
    seen.clear()
    posted = RequestFactory().generic("POST", "/", request["body"].encode(), content_type=content_type, **headers)
    try:
        answer = view.as_view(**options)(posted)
        out.append({"format": request["format"], "status": answer.status_code, "events": list(seen)})
    except Exception as error:
        out.append({"format": request["format"], "error": f"{type(error).__name__}: {error}", "body": request["body"]})
print(json.dumps(out))
