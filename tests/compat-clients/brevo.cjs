// Brevo's own client.
const { BrevoClient } = require('@getbrevo/brevo');
const [url, apiKey] = [process.env.POSTROAD_URL, process.env.POSTROAD_KEY];
const client = new BrevoClient({ apiKey, baseUrl: `${url}/v3`, maxRetries: 0 });
const content = Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)).toString('base64');
const sender = { email: 'hello@acme.example', name: 'Acme Tést' };

async function refused(call) {
    try { await call; return null; } catch (error) { return [error.statusCode, error.body]; }
}

(async () => {
    const send = (body, by = client) => by.transactionalEmails.sendTransacEmail(body);
    const out = {};
    out.one = await send({
        sender, replyTo: { email: 'help@acme.example' }, to: [{ email: 'ann@example.net', name: 'Ann Ünal' }], bcc: [{ email: 'bob@example.net' }],
        subject: 'Grüße, {{ params.name }}', htmlContent: '<p>Hi {{ params.name }}{{ params.gone }}</p>', textContent: 'Hi {{params.name|upper}}',
        params: { name: 'A<nn' }, tags: ['welcome'], headers: { 'X-Order': '7', 'X-Mailin-custom': 'a:b' },
        attachment: [{ name: 'a.pdf', content }],
    });
    out.versions = await send({
        sender, subject: 'All', htmlContent: '<p>{{params.n}}</p>',
        messageVersions: [
            { to: [{ email: 'ann@example.net' }], params: { n: 'one' } },
            { to: [{ email: 'bob@example.net' }], params: { n: 'two' }, subject: 'Own' },
        ],
    });
    out.sandbox = await send({ sender, to: [{ email: 'ann@example.net' }], subject: 'x', htmlContent: 'x', headers: { 'X-Sib-Sandbox': 'drop' } });
    out.later = await send({ sender, to: [{ email: 'ann@example.net' }], subject: 'x', htmlContent: 'x', scheduledAt: new Date(Date.now() + 86400000).toISOString() });
    out.nobody = await refused(send({ sender, subject: 'x', htmlContent: 'x' }));
    out.bad = await refused(send({ sender, to: [{ email: 'nobody' }], subject: 'x', htmlContent: 'x' }));
    out.template = await refused(send({ sender, to: [{ email: 'ann@example.net' }], templateId: 99 }));
    out.wrong = await refused(send({ sender }, new BrevoClient({ apiKey: 'wrong', baseUrl: `${url}/v3`, maxRetries: 0 })));
    console.log(JSON.stringify(out));
})().catch((error) => { console.error(error); process.exit(1); });
