"""Reads mails, one a line in base64, as Python's email package does, and prints of each what it holds, as JSON."""
import base64
import email
import email.policy
import json
import sys


def defects(part):
    found = [repr(defect) for defect in part.defects]
    for name, value in part.items():
        found += [f"{name}: {defect!r}" for defect in value.defects]
    return found


def outline(part):
    if part.get_content_type() == "message/rfc822":
        return ["message/rfc822", [outline(part.get_content())]]
    if part.is_multipart():
        return [part.get_content_type(), [outline(inner) for inner in part.iter_parts()]]
    return part.get_content_type()


def text(mail, kind):
    part = mail.get_body((kind,))
    return None if part is None else part.get_content()


def leaves(part):
    if part.get_content_type() == "message/rfc822":
        return
    if part.is_multipart():
        for inner in part.iter_parts():
            yield from leaves(inner)
    else:
        yield part


def files(mail):
    for part in leaves(mail):
        if part.get_filename() is not None:
            content = base64.b64encode(part.get_payload(decode=True)).decode()
            yield [part.get_filename(), part.get_content_disposition(), part["content-id"], content]


def mailboxes(mail, name):
    return [[mailbox.display_name, mailbox.addr_spec] for mailbox in mail[name].addresses] if mail[name] else []


for line in sys.stdin:
    mail = email.message_from_bytes(base64.b64decode(line), policy=email.policy.default)
    json.dump({
        "defects": [defect for part in mail.walk() for defect in defects(part)],
        "names": [name.lower() for name in mail.keys()],
        "subject": mail["subject"],
        "from": mailboxes(mail, "from"),
        "to": mailboxes(mail, "to"),
        "outline": outline(mail),
        "text": text(mail, "plain"),
        "html": text(mail, "html"),
        "files": list(files(mail)),
    }, sys.stdout)
    print()
