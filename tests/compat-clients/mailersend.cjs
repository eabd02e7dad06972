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
    // What it asks of them is below the provider's name.
    const around = new MailerSend({ apiKey });
    for (const module of [around.email, around.email.message, around.email.schedule, around.email.recipient]) module.baseUrl = `${url}/compat/mailersend/v1`;
    out.status = (await around.email.getBulkStatus(bulk.body.bulk_email_id)).body.data;
    out.strange = await refused(around.email.getBulkStatus('0'.repeat(32)));
    out.message = (await around.email.message.single(one.headers['x-message-id'])).body.data;
    out.messages = (await around.email.message.list({ limit: 10 })).body.data.map((message) => message.id);
    const later = await client.email.send(mail('ann@example.net').setSendAt(Math.floor(Date.now() / 1000) + 3600));
    const waiting = later.headers['x-message-id'];
    out.scheduled = (await around.email.schedule.single(waiting)).body.data.status;
    out.canceled = (await around.email.schedule.delete(waiting)).statusCode;
    out.blocked = (await around.email.recipient.blockRecipients({ domain_id: 'x', recipients: ['gone@example.net'] }, 'blocklist')).statusCode;
    const blocked = (await around.email.recipient.blockList({ limit: 10 }, 'blocklist')).body.data;
    out.blocklist = blocked.map((entry) => entry.pattern);
    out.unblocked = (await around.email.recipient.delBlockListRecipients(blocked.map((entry) => entry.id), 'blocklist')).statusCode;
    out.bad = await refused(client.email.send(new EmailParams().setFrom(from).setTo([new Recipient('nobody')]).setSubject('x')));
    const wrong = new MailerSend({ apiKey: 'wrong' });
    wrong.email.baseUrl = `${url}/v1`;
    out.wrong = await refused(wrong.email.send(mail('ann@example.net')));
    console.log(JSON.stringify(out));
})().catch((error) => { console.error(error); process.exit(1); });
