// Mailjet's own client, which speaks TLS only.
const Mailjet = require('node-mailjet');
const [host, key] = [process.env.POSTROAD_TLS, process.env.POSTROAD_KEY];
const connect = (secret) => Mailjet.apiConnect('public', secret, { config: { host, version: 'v3.1' } });
const client = connect(key);
const Base64Content = Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)).toString('base64');
const From = { Email: 'hello@acme.example', Name: 'Acme Tést' };
const send = (body, by = client) => by.post('send', { version: 'v3.1' }).request(body);

async function refused(call) {
    try { await call; return null; } catch (error) { return [error.statusCode, error.response && error.response.data]; }
}

(async () => {
    const out = {};
    out.one = (await send({ Messages: [{
        From, To: [{ Email: 'ann@example.net', Name: 'Ann Ünal' }], Cc: [{ Email: 'bob@example.net' }],
        Subject: 'Grüße, {{var:name}}', TextPart: 'Hi {{var:name}}', HTMLPart: '<p>Hi {{var:name}}{{var:gone:"!"}}</p>',
        TemplateLanguage: true, Variables: { name: 'A<nn' }, CustomID: 'order-7', EventPayload: 'p', Headers: { 'X-Order': '7' },
        Attachments: [{ ContentType: 'application/octet-stream', Filename: 'a.bin', Base64Content }],
        InlinedAttachments: [{ ContentType: 'image/png', Filename: 'l.png', ContentID: 'logo', Base64Content }],
    }] })).body;
    out.partly = await refused(send({ Messages: [
        { From, To: [{ Email: 'nobody' }], Subject: 'x', TextPart: 'x' },
        { From, To: [{ Email: 'ann@example.net' }], Subject: 'Good', TextPart: 'x' },
        { From, To: [{ Email: 'ann@example.net' }], Subject: 'x' },
    ] }));
    out.sandbox = (await send({ SandboxMode: true, Messages: [{ From, To: [{ Email: 'ann@example.net' }], Subject: 'x', TextPart: 'x' }] })).body;
    out.wrong = await refused(send({ Messages: [] }, connect('wrong')));
    console.log(JSON.stringify(out));
})().catch((error) => { console.error(error.response ? error.response.data : error); process.exit(1); });
