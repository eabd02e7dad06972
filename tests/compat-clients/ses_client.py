"""Boto3, v2 and v1: access key id, secret."""

import datetime
import json
import os
import sys
import urllib.error
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
from botocore.config import Config
from botocore.exceptions import ClientError

url = os.environ["POSTROAD_URL"]
key, secret = sys.argv[1:]
config = Config(retries={"max_attempts": 0})
means = dict(endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret, config=config)
ses, old = boto3.client("sesv2", **means), boto3.client("ses", **means)
out = {}

out["simple"] = ses.send_email(
    FromEmailAddress="Acme <hello@acme.example>",
    Destination={"ToAddresses": ["ann@example.net"]},
    Content={"Simple": {"Subject": {"Data": "Grüße"}, "Body": {"Html": {"Data": "<p>Hello.</p>"}}}},
)["MessageId"]
raw = b"From: hello@acme.example\r\nTo: ann@example.net\r\nSubject: Raw\r\n\r\nRaw.\r\n"
out["raw"] = old.send_raw_email(Source="hello@acme.example", Destinations=["bob@example.net"], RawMessage={"Data": raw})["MessageId"]
out["quota"] = old.get_send_quota()["SentLast24Hours"] >= 0
out["identity"] = ses.create_email_identity(EmailIdentity="a.b.example")["IdentityType"]
# Encoded in the path, and once more for the signature.
ses.put_suppressed_destination(EmailAddress="dead+one@example.net", Reason="BOUNCE")
out["plus"] = ses.get_suppressed_destination(EmailAddress="dead+one@example.net")["SuppressedDestination"]["EmailAddress"]


def refused(call):
    try:
        call()
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]


wrong = boto3.client("sesv2", **{**means, "aws_secret_access_key": "another secret"})
out["wrong"] = refused(wrong.get_account)
out["old_wrong"] = refused(boto3.client("ses", **{**means, "aws_secret_access_key": "another"}).get_send_quota)


def signed(body, sent, minutes):
    """Signs one body some minutes from now, and sends another; gives the status and the error's name."""
    request = botocore.awsrequest.AWSRequest("POST", url + "/v2/email/outbound-emails", data=body, headers={"Content-Type": "application/json"})
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    before = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda **_: moment.replace(tzinfo=None)
    try:
        botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), "ses", "us-east-1").add_auth(request)
    finally:
        botocore.auth.get_current_datetime = before
    prepared = request.prepare()
    try:
        answer = urllib.request.urlopen(urllib.request.Request(prepared.url, sent, dict(prepared.headers.items()), method="POST"))
        return [answer.status, ""]
    except urllib.error.HTTPError as error:
        return [error.code, error.headers["x-amzn-ErrorType"]]


mail = json.dumps({
    "FromEmailAddress": "hello@acme.example",
    "Destination": {"ToAddresses": ["ann@example.net"]},
    "Content": {"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "x"}}}},
}).encode()
out["signed"] = signed(mail, mail, 0)
out["altered"] = signed(mail, mail.replace(b"ann@", b"eve@"), 0)
out["late"] = signed(mail, mail, -16)
out["early"] = signed(mail, mail, 16)
out["in_time"] = signed(mail, mail, -14)
print(json.dumps(out))
