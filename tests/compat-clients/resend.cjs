// Sends with Resend's own client and prints what came of it, as one JSON object.
const { Resend } = require('resend');
const { POSTROAD_URL: url, POSTROAD_KEY: key } = process.env;

const open = token => new Resend(token, { baseUrl: url });
const client = open(key);
const octets = Buffer.from([...Array(256).keys()]);

(async () => {
  const plain = { from: 'hello@acme.example', to: 'ann@example.net', subject: 'Hello', text: 'Some text.' };
  const later = new Date(Date.now() + 3600e3).toISOString();
  const out = {};
  out.whole = await client.emails.send({
    from: '"Acme, Inc." <hello@acme.example>', to: ['Ann Ä <ann@example.net>'], cc: 'carl@example.net', bcc: ['bob@example.net'],
    replyTo: 'help@acme.example', subject: 'Grüße', text: 'Hallo Ann', html: '<p>Hallo <img src="cid:logo"></p>',
    headers: { 'X-Order': '7' }, tags: [{ name: 'order', value: '7' }],
    attachments: [
      { filename: 'ü.bin', content: octets },
      { filename: 'logo.png', content: Buffer.from('PNG').toString('base64'), contentType: 'image/png', contentId: 'logo' },
    ],
  });
  out.first = await client.emails.send(plain, { idempotencyKey: 'one' });
  out.again = await client.emails.send(plain, { idempotencyKey: 'one' });
  out.other = await client.emails.send({ ...plain, subject: 'Other' }, { idempotencyKey: 'one' });
  out.batch = await client.batch.send([plain, { ...plain, to: 'bob@example.net' }]);
  out.badBatch = await client.batch.send([plain, { ...plain, to: 'nobody' }]);
  out.scheduled = await client.emails.send({ ...plain, scheduledAt: later });
  out.updated = await client.emails.update({ id: out.scheduled.data.id, scheduledAt: 'in 2 hours' });
  out.found = await client.emails.get(out.scheduled.data.id);
  out.canceled = await client.emails.cancel(out.scheduled.data.id);
  out.tooLate = await client.emails.cancel(out.scheduled.data.id);
  out.missing = await client.emails.get('49a3999c-0ce1-4ea6-ab68-afcd6dc2e794');
  out.listed = await client.emails.list();
  out.noTo = await client.emails.send({ from: 'hello@acme.example', subject: 'x', text: 'x' });
  out.badTo = await client.emails.send({ ...plain, to: 'nobody' });
  out.domain = await client.domains.create({ name: 'rs.example' });
  out.domains = await client.domains.list();
  out.verified = await client.domains.verify(out.domain.data.id);
  out.removed = await client.domains.remove(out.domain.data.id);
  out.key = await client.apiKeys.create({ name: 'sender', permission: 'sending_access' });
  out.restricted = await open(out.key.data.token).domains.list();
  out.sentWithIt = await open(out.key.data.token).emails.send(plain);
  out.unkeyed = await client.apiKeys.remove(out.key.data.id);
  out.wrongKey = await open('wrong').emails.send(plain);
  console.log(JSON.stringify(out));
})().catch(error => { console.error(error); process.exit(1); });
