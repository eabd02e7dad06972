// MailerSend's own client.
const { MailerSend, EmailParams, Sender, Recipient, Attachment } = require('mailersend');
const [url, apiKey] = [process.env.POSTROAD_URL, process.env.POSTROAD_KEY];
const client = new MailerSend({ apiKey });
// It has no setting for it.
client.email.baseUrl = `${url}/v1`;
const from = new Sender('hello@acme.example', 'Acme Tést');
const file = Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)).toString('base64');
const mail = (...to) => new EmailParams().setFrom(from).setTo(to.map((email) => new Recipient(email, 'Ann Ünal'))).setSubject('Grüße, {{ name }}').setHtml('<p>Hi {{ name }}</p>').setText('Hi {{name}}');

async function refused(call) {
    try { await call; return null; } catch (error) { return [error.statusCode, error.body]; }
}

(async () => {
    const out = {};
    const one = await client.email.send(mail('ann@example.net', 'bob@example.net')
        .setReplyTo(new Sender('help@acme.example', 'Help'))
        .setPersonalization([{ email: 'ann@example.net', data: { name: 'A<nn' } }, { email: 'bob@example.net', data: { name: 'Bob' } }])
        .setTags(['welcome'])
        .setAttachments([new Attachment(file, 'a.bin', 'attachment')]));
    out.one = [one.statusCode, one.headers['x-message-id']];
    const bulk = await client.email.sendBulk([mail('ann@example.net'), mail('bob@example.net')]);
    out.bulk = [bulk.statusCode, bulk.body.bulk_email_id];
    out.bad = await refused(client.email.send(new EmailParams().setFrom(from).setTo([new Recipient('nobody')]).setSubject('x')));
    const wrong = new MailerSend({ apiKey: 'wrong' });
    wrong.email.baseUrl = `${url}/v1`;
    out.wrong = await refused(wrong.email.send(mail('ann@example.net')));
    console.log(JSON.stringify(out));
})().catch((error) => { console.error(error); process.exit(1); });
