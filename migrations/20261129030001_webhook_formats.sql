-- Webhooks may be posted to in the shape of other providers.

ALTER TABLE webhooks DROP CONSTRAINT webhooks_format_check;
ALTER TABLE webhooks ADD CONSTRAINT webhooks_format_check CHECK (format IN (
    'postroad', 'sendgrid', 'mailgun', 'postmark', 'ses', 'sparkpost', 'brevo', 'resend', 'mailjet', 'mailersend'));
COMMENT ON COLUMN webhooks.format IS 'In whose shape events are posted, and signed.';
