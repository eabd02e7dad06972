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
  const variables = [{ key: 'NAME', type: 'string', fallbackValue: 'you' }, { key: 'SUM', type: 'number' }];
  const template = await client.templates.create({ name: 'Receipt', alias: 'receipt', subject: 'For {{{NAME}}}', html: '<p>{{{NAME}}}: {{{SUM}}}</p>', variables });
  out.draft = (await client.templates.get('receipt')).data;
  const ofTemplate = variables => client.emails.send({ from: 'hello@acme.example', to: 'ann@example.net', template: { id: 'receipt', variables } });
  out.unpublished = await ofTemplate({ SUM: 7 });
  out.published = await client.templates.publish(template.data.id);
  out.ofTemplate = await ofTemplate({ SUM: 7 });
  out.lacking = await ofTemplate({});
  out.renamed = await client.templates.update('receipt', { name: 'Receipts' });
  const copy = await client.templates.duplicate(template.data.id);
  out.templates = (await client.templates.list()).data.data.map(one => [one.name, one.status]);
  out.dropped = [await client.templates.remove(template.data.id), await client.templates.remove(copy.data.id)].map(one => one.data.deleted);
  out.suppressed = (await client.suppressions.add({ email: 'gone@example.net' })).data;
  out.suppressedMany = (await client.suppressions.batch.add({ emails: ['a@example.net', 'b@example.net'] })).data.data.length;
  out.suppression = (await client.suppressions.get('gone@example.net')).data;
  out.suppressions = (await client.suppressions.list({ origin: 'manual', limit: 2 })).data;
  out.unsuppressed = (await client.suppressions.remove(out.suppressed.id)).data;
  out.unsuppressedMany = (await client.suppressions.batch.remove({ emails: ['a@example.net', 'b@example.net', 'c@example.net'] })).data.data.length;
  out.free = await client.suppressions.get('gone@example.net');
  out.metrics = (await client.emails.metrics({ metrics: ['sent', 'delivery_rate'], dimensions: ['period'] })).data;
  out.key = await client.apiKeys.create({ name: 'sender', permission: 'sending_access' });
  out.restricted = await open(out.key.data.token).domains.list();
  out.sentWithIt = await open(out.key.data.token).emails.send(plain);
  out.unkeyed = await client.apiKeys.remove(out.key.data.id);
  out.wrongKey = await open('wrong').emails.send(plain);
  console.log(JSON.stringify(out));
})().catch(error => { console.error(error); process.exit(1); });
